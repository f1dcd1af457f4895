import type { Random } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import type { Packet } from 'mqtt-packet'
import type { RawClient } from '../broker/raw-client.ts'
import { Client, type ClientOptions, leave, waysToLeave } from './client.ts'
import type { Tally } from './tally.ts'

export interface SubscriberOptions extends ClientOptions {
  filter: string
  qos: 1 | 2
  tally: Tally
  /** Ends its connections by itself, after so long, and stays away for so long; without it only the broker ends them. */
  absences?: { everyMs: number; maxMs: number; random: Random }
}

/**
 * Takes and acknowledges messages; of QoS 2 it takes one for each packet identifier until its PUBREL (MQTT 3.1.1, 4.3.3). What a
 * stored session asks of a client to keep, it keeps over its connections.
 */
export class Subscriber extends Client {
  /** Resolves with the first SUBACK. */
  readonly subscribed: Promise<void>
  private confirm: (() => void) | undefined
  private readonly subscription: SubscriberOptions
  private readonly held = new Set<number>()
  private away = true

  constructor(options: SubscriberOptions) {
    super(options)
    this.subscription = options
    this.subscribed = new Promise(resolve => {
      this.confirm = () => {
        this.confirm = undefined
        resolve()
      }
    })
  }

  /** Is there to the end from here on. */
  stay(): void {
    this.away = false
  }

  protected async talk(connection: RawClient, ended: AbortSignal, sessionPresent: boolean): Promise<void> {
    const { clean, filter, qos } = this.subscription
    if (!sessionPresent) this.held.clear()
    if (clean || this.confirm) {
      connection.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos }] })
    }
    const leaving = this.leavesAfter(ended)
    try {
      for (;;) this.take(connection, await connection.take(leaving))
    } catch (thrown) {
      if (ended.aborted || !leaving.aborted) throw thrown
      await this.leave(connection)
    }
  }

  /** Aborts at the moment this connection is to be ended from this side, or has ended. */
  private leavesAfter(ended: AbortSignal): AbortSignal {
    const { absences } = this.subscription
    if (!absences || !this.away || this.confirm) return ended
    const { everyMs, random } = absences
    return AbortSignal.any([ended, AbortSignal.timeout(Math.ceil(random.uniform() * 2 * everyMs))])
  }

  private async leave(connection: RawClient): Promise<void> {
    const { maxMs, random } = this.subscription.absences!
    const way = waysToLeave[Math.floor(random.uniform() * waysToLeave.length)]!
    await leave(connection, way)
    if (way !== 'replace') await this.pause(random.uniform() * maxMs)
  }

  private take(connection: RawClient, packet: Packet): void {
    if (packet.cmd === 'suback') {
      if (packet.granted[0] !== this.subscription.qos) {
        throw new FaultlineError('CREDENTIALS_REFUSED', `${this.subscription.filter}: SUBACK ${packet.granted[0]}`)
      }
      this.confirm?.()
    } else if (packet.cmd === 'publish') {
      const messageId = packet.messageId!
      if (packet.qos === 1 || !this.held.has(messageId)) this.subscription.tally.add(Number(packet.payload))
      if (packet.qos === 2) this.held.add(messageId)
      connection.send({ cmd: packet.qos === 1 ? 'puback' : 'pubrec', messageId })
    } else if (packet.cmd === 'pubrel') {
      const messageId = packet.messageId!
      this.held.delete(messageId)
      connection.send({ cmd: 'pubcomp', messageId })
    }
  }
}
