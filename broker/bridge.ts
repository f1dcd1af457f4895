import { encodePayload, identityOf, type Message, toFaultlineError, topicFilter, topicOf } from '@faultline/protocol'
import {
  type BrokerAccess,
  HeldMessage,
  type Logger,
  MqttSession,
  type MqttSessionOptions,
  type Service,
} from '@faultline/runtime'
import { type BridgeDrop, BridgeQueue, type WaitingEscalation } from './bridge-queue.ts'
import type { Collector } from './collector.ts'

export interface BridgeSettings extends BrokerAccess {
  /** The site this broker belongs to; with the upstream broker the bridge is `sites/{site}`. */
  site: string
  /** Escalations that may wait for the upstream broker, and bytes of them; beyond, the oldest are dropped. */
  maxMessages: number
  maxBytes: number
}

/** The broker that has the bridge. */
export interface NearEnd {
  readonly collector: Collector
  /** At QoS 1; resolves once it is stored. */
  publish(topic: string, payload: Buffer): Promise<void>
}

export interface BridgeOptions extends BridgeSettings {
  near: NearEnd
  logger: Logger
  backOff?: MqttSessionOptions['backOff']
}

/** Escalations on their way that the upstream broker has not acknowledged. */
const maxUnderWay = 100
/** How often those whose senders wait no longer are dropped, and those that failed are tried again, in ms. */
const lookMs = 1_000

/**
 * Carries the escalations of this broker's server agents to an upstream broker, and the verdicts of the servers there back:
 *
 *     upstream/devices/{site}/+/points/+/escalation  ->  devices/{site}/+/points/+/escalation
 *     upstream/devices/{site}/+/points/+/verdict     <-  devices/{site}/+/points/+/verdict
 *
 * Nothing can go round in circles: escalations only go up, verdicts only come down, and neither arrives where it would be taken
 * again. Both are of QoS 1, and neither is acknowledged before it is stored on the other side or waits in a stored session:
 * escalations in one of this broker, within bounds and for as long as their senders wait, and verdicts in that of the upstream
 * broker. An escalation goes with what is left of its deadline.
 */
export class Bridge implements Service {
  readonly counts = { up: 0, down: 0, dropped: 0, expired: 0, refused: 0 }
  private readonly options: BridgeOptions
  private readonly queue: BridgeQueue
  /** What was dropped since the upstream broker was reached last. */
  private readonly episode = new Map<BridgeDrop, number>()
  private underWay = 0
  private session: MqttSession | undefined
  private timer: NodeJS.Timeout | undefined

  constructor(options: BridgeOptions) {
    this.options = options
    const { site, near, maxMessages, maxBytes, logger } = options
    this.queue = new BridgeQueue({ site, collector: near.collector, maxMessages, maxBytes, logger })
    this.queue.on('arrived', () => this.send())
    this.queue.on('dropped', reason => this.countDrop(reason))
  }

  get online(): boolean {
    return this.session?.online ?? false
  }

  /** Escalations that the upstream broker has not acknowledged. */
  get queued(): number {
    return this.queue.size
  }

  /** Does not wait for the upstream broker. Throws `CERTIFICATE_INVALID`. */
  async start(): Promise<void> {
    const { site, logger } = this.options
    await this.queue.open()
    const session = new MqttSession({
      ...this.options,
      identity: identityOf('site', site),
      // Verdicts wait there while the link is down.
      clean: false,
      subscriptions: [topicFilter('verdict', { site })],
      onMessage: message => this.bringDown(message),
      awaitsHandling: true,
      logger,
    })
    this.session = session
    session.on('online', () => {
      this.endEpisode()
      this.send()
    })
    // What was under way waits here: the client would send it again however late.
    session.on('offline', () => session.withdraw())
    await session.start()
    this.timer = setInterval(() => {
      this.queue.expire()
      this.send()
    }, lookMs)
    this.timer.unref()
  }

  async stop(): Promise<void> {
    const { session } = this
    this.session = undefined
    clearInterval(this.timer)
    await session?.stop()
  }

  private async bringDown(message: Message): Promise<void> {
    if (message.kind !== 'verdict') return
    const topic = topicOf({ ...message.address, kind: 'upstream-verdict' })
    try {
      await this.options.near.publish(topic, encodePayload('upstream-verdict', message.payload))
    } catch (thrown) {
      const error = toFaultlineError(thrown)
      this.options.logger.warn({ error: error.message }, 'storing a verdict of the upstream broker failed')
      throw new HeldMessage(error)
    }
    this.counts.down++
  }

  private send(): void {
    while (this.session?.online && this.underWay < maxUnderWay) {
      const entry = this.queue.next()
      if (!entry) return
      this.carry(this.session, entry).catch(error => {
        this.options.logger.error({ error: error.message }, 'forwarding an escalation to the upstream broker failed')
      })
    }
  }

  /** Never rejects: what does not arrive is tried again, until its sender waits no longer. */
  private async carry(session: MqttSession, entry: WaitingEscalation): Promise<void> {
    this.underWay++
    try {
      const found = await this.queue.read(entry)
      if (found) {
        const { address, payload } = found
        const leftMs = Math.max(0, Math.floor(entry.expiresAt - performance.now()))
        const deadline = new Date(Date.parse(payload.at) + leftMs).toISOString()
        await session.publish(address, { ...payload, deadline })
        this.counts.up++
      }
      this.queue.remove(entry)
    } catch (thrown) {
      this.queue.putBack(entry)
      if (session.online) {
        const error = toFaultlineError(thrown).message
        this.options.logger.warn({ error }, 'forwarding an escalation to the upstream broker failed')
      }
      return
    } finally {
      this.underWay--
    }
    this.send()
  }

  private countDrop(reason: BridgeDrop): void {
    this.counts[reason]++
    const before = this.episode.get(reason) ?? 0
    this.episode.set(reason, before + 1)
    // The first of many: they go on as long as the upstream broker is away.
    if (before === 0)
      this.options.logger.warn({ reason, waiting: this.queued }, 'escalation for the upstream broker dropped')
  }

  private endEpisode(): void {
    if (this.episode.size > 0) {
      const dropped = Object.fromEntries(this.episode)
      this.options.logger.warn(dropped, 'escalations were dropped while the upstream broker was away')
    }
    this.episode.clear()
  }
}
