import type { Packet } from 'mqtt-packet'
import type { RawClient } from '../broker/raw-client.ts'
import { Client, type ClientOptions } from './client.ts'

export interface PublisherOptions extends ClientOptions {
  topic: string
  qos: 1 | 2
  /** Messages in a second. */
  rate: number
}

const maxUnanswered = 100
const tickMs = 10

/**
 * Publishes 1, 2, 3, … and keeps what the standard has a client keep over its connections (MQTT 3.1.1, 4.4): PUBLISH without
 * an answer is sent again with DUP, PUBREC without a PUBCOMP is answered with PUBREL again.
 */
export class Publisher extends Client {
  /** Numbers that the broker has taken: PUBACK, or PUBREC. */
  readonly acknowledged = new Set<number>()
  /** Numbers sent and not yet taken, by packet identifier, in the order they were sent first. */
  private readonly sent = new Map<number, number>()
  private readonly received = new Set<number>()
  private readonly publishing: PublisherOptions
  private last = 0
  private lastId = 0
  private finished = false

  constructor(options: PublisherOptions) {
    super(options)
    this.publishing = options
  }

  /** Messages whose exchange with the broker is not over. */
  get unanswered(): number {
    return this.sent.size + this.received.size
  }

  /** Publishes nothing new from here on. */
  finish(): void {
    this.finished = true
  }

  protected async talk(connection: RawClient, ended: AbortSignal): Promise<void> {
    for (const [messageId, number] of this.sent) this.publish(connection, messageId, number, true)
    for (const messageId of this.received) connection.send({ cmd: 'pubrel', messageId })
    const timer = setInterval(() => this.fill(connection), tickMs)
    try {
      for (;;) this.take(connection, await connection.take(ended))
    } finally {
      clearInterval(timer)
    }
  }

  private fill(connection: RawClient): void {
    for (let count = (this.publishing.rate * tickMs) / 1_000; count > 0; count--) {
      if (this.finished || this.unanswered >= maxUnanswered) return
      const messageId = this.nextId()
      this.sent.set(messageId, ++this.last)
      this.publish(connection, messageId, this.last, false)
    }
  }

  private publish(connection: RawClient, messageId: number, number: number, dup: boolean): void {
    const { topic, qos } = this.publishing
    connection.send({ cmd: 'publish', topic, payload: String(number), qos, messageId, dup, retain: false })
  }

  private take(connection: RawClient, packet: Packet): void {
    const messageId = packet.messageId!
    if (packet.cmd === 'puback' || packet.cmd === 'pubrec') {
      const number = this.sent.get(messageId)
      if (number !== undefined) this.acknowledged.add(number)
      this.sent.delete(messageId)
      if (packet.cmd === 'puback') return
      this.received.add(messageId)
      connection.send({ cmd: 'pubrel', messageId })
    } else if (packet.cmd === 'pubcomp') this.received.delete(messageId)
  }

  private nextId(): number {
    do this.lastId = (this.lastId % 65_535) + 1
    while (this.sent.has(this.lastId) || this.received.has(this.lastId))
    return this.lastId
  }
}
