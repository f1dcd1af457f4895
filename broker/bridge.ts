import {
  decodePayload,
  type Escalation,
  encodePayload,
  identityOf,
  type Message,
  parseTopic,
  type TopicAddress,
  toFaultlineError,
  topicFilter,
  topicOf,
} from '@faultline/protocol'
import { type BrokerAccess, type Logger, MqttSession, type MqttSessionOptions, type Service } from '@faultline/runtime'

export interface BridgeSettings extends BrokerAccess {
  /** The site this broker belongs to; with the broker above the bridge is `sites/{site}`. */
  site: string
  /** Escalations that may wait for the link, and bytes of their windows; beyond, the oldest are dropped. */
  waitingMessages: number
  waitingBytes: number
}

/** The broker that has the bridge. */
export interface NearEnd {
  /** Calls back with every message under a filter. */
  listen(filter: string, take: (topic: string, payload: Uint8Array) => void): Promise<void>
  /** At QoS 1. */
  publish(topic: string, payload: Buffer): Promise<void>
}

export interface BridgeOptions extends BridgeSettings {
  near: NearEnd
  logger: Logger
  backOff?: MqttSessionOptions['backOff']
}

type EscalationAddress = Extract<TopicAddress, { kind: 'escalation' }>

interface Waiting {
  address: EscalationAddress
  payload: Escalation
  /** When its sender stops waiting for an answer; monotonic, in ms. */
  expiresAt: number
  bytes: number
}

/** Escalations on their way that the broker above has not acknowledged. */
const mostUnderWay = 100

/**
 * Carries the escalations of this broker's server agents to a broker above, and the verdicts of the servers there back:
 *
 *     upstream/devices/{site}/+/points/+/escalation  ->  devices/{site}/+/points/+/escalation
 *     upstream/devices/{site}/+/points/+/verdict     <-  devices/{site}/+/points/+/verdict
 *
 * Nothing can go round in circles: escalations only go up, verdicts only come down, and neither arrives where it would be taken
 * again. Both are of QoS 1. While the link is down escalations wait, within bounds, for as long as their senders do, and go with
 * what is left of their deadlines.
 */
export class Bridge implements Service {
  readonly counts = { up: 0, down: 0, dropped: 0, expired: 0 }
  private readonly options: BridgeOptions
  private readonly waiting: Waiting[] = []
  private waitingBytes = 0
  private underWay = 0
  private session: MqttSession | undefined

  constructor(options: BridgeOptions) {
    this.options = options
  }

  get online(): boolean {
    return this.session?.online ?? false
  }

  /** Escalations that wait for the link. */
  get queued(): number {
    return this.waiting.length
  }

  /** Does not wait for the broker above. Throws `CERTIFICATE_INVALID`. */
  async start(): Promise<void> {
    const { site, near, logger, waitingMessages: _, waitingBytes: __, ...access } = this.options
    const session = new MqttSession({
      ...access,
      identity: identityOf('site', site),
      subscriptions: [topicFilter('verdict', { site })],
      onMessage: message => this.bringDown(message),
      logger,
    })
    this.session = session
    session.on('online', () => this.send())
    // What was under way comes back, and waits here: the client would send it again however late.
    session.on('offline', () => session.withdraw())
    await near.listen(topicFilter('upstream-escalation', { site }), (...message) => this.take(...message))
    await session.start()
  }

  async stop(): Promise<void> {
    const { session } = this
    this.session = undefined
    await session?.stop()
    this.waiting.length = 0
    this.waitingBytes = 0
  }

  private async bringDown(message: Message): Promise<void> {
    if (message.kind !== 'verdict') return
    const topic = topicOf({ ...message.address, kind: 'upstream-verdict' })
    await this.options.near.publish(topic, encodePayload('upstream-verdict', message.payload))
    this.counts.down++
  }

  private take(topic: string, bytes: Uint8Array): void {
    const address = parseTopic(topic)
    if (!this.session || address?.kind !== 'upstream-escalation') return
    try {
      const payload = decodePayload('upstream-escalation', bytes)
      const expiresAt = performance.now() + Date.parse(payload.deadline) - Date.parse(payload.at)
      this.wait({ address: { ...address, kind: 'escalation' }, payload, expiresAt, bytes: bytes.byteLength })
    } catch (thrown) {
      this.options.logger.warn({ topic, error: toFaultlineError(thrown).message }, 'not taken over the bridge')
      return
    }
    this.send()
  }

  private wait(item: Waiting): void {
    const { waitingMessages, waitingBytes } = this.options
    this.waiting.push(item)
    this.waitingBytes += item.bytes
    while (this.waiting.length > waitingMessages || this.waitingBytes > waitingBytes) {
      this.next()
      this.counts.dropped++
    }
  }

  private send(): void {
    while (this.session?.online && this.underWay < mostUnderWay && this.waiting.length > 0) {
      const item = this.next()
      if (item.expiresAt <= performance.now()) this.counts.expired++
      else void this.carry(this.session, item)
    }
  }

  private async carry(session: MqttSession, item: Waiting): Promise<void> {
    const { address, payload, expiresAt } = item
    const leftMs = expiresAt - performance.now()
    const deadline = new Date(Date.parse(payload.at) + Math.floor(leftMs)).toISOString()
    this.underWay++
    try {
      await session.publish(address, { ...payload, deadline })
      this.counts.up++
    } catch (thrown) {
      // The link broke under way.
      if (this.session && !session.online) this.wait(item)
      else this.options.logger.warn({ id: payload.id, error: toFaultlineError(thrown).message }, 'not carried up')
    } finally {
      this.underWay--
    }
    this.send()
  }

  private next(): Waiting {
    const item = this.waiting.shift()!
    this.waitingBytes -= item.bytes
    return item
  }
}
