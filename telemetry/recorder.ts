import { join } from 'node:path'
import { accessRules, type Identity, type Message, toFaultlineError, topicFilter, topicOf } from '@faultline/protocol'
import { type BrokerAccess, HeldMessage, type Logger, MqttSession, type Service } from '@faultline/runtime'
import { FirstSeen } from './first-seen.ts'
import { auditPointOf, pointOf } from './measurements.ts'
import type { TelemetryStore } from './store.ts'
import { WriteQueue, type WriteQueueOptions } from './write-queue.ts'

export interface RecorderOptions {
  broker: BrokerAccess & { identity: Identity }
  /** Started and stopped by whoever made it, who may read from it too. */
  store: TelemetryStore
  logger: Logger
  /** Where points wait for the store, across restarts; one directory for each recorder. */
  spool: WriteQueueOptions['spool']
  /** The class that means nothing is wrong; `normal` when absent. */
  normal?: string
  batch?: WriteQueueOptions['batch']
  backOff?: WriteQueueOptions['backOff']
}

export interface RecorderCounts {
  /** Points written, repetitions included. */
  recorded: number
  /** Points lost: to a full spool, to their age there, and to files of the spool that cannot be read. */
  dropped: { full: number; age: number; disk: number }
  /** Points that the store refuses for good. */
  setAside: number
  /** Messages that are not of the contract. */
  refused: number
  /** Messages of kinds that only a later version of the contract knows. */
  unknown: number
  /** Messages that the spool's disk did not take. They are not acknowledged, and the broker sends them again. */
  held: number
  /** Points in the spool. */
  waiting: number
}

/** What came with a later version of the contract: a broker of the one before refuses it, and everything else is recorded. */
const optionalFilters = [topicFilter('update-status')]

/** How often a disk that took nothing is looked at, in ms. */
const roomCheckMs = 1_000

/**
 * Writes what the fleet publishes into a store. A message of QoS 1 is acknowledged when its points are in the spool, and
 * the broker keeps the session: whatever ends, store, recorder or connection, its points are written in the end, and once.
 * While the disk of the spool takes nothing it leaves the broker, which keeps what comes, and returns when there is room.
 */
export class Recorder implements Service {
  readonly queue: WriteQueue
  readonly store: TelemetryStore
  private readonly session: MqttSession
  private readonly firstSeen: FirstSeen
  private readonly normal: string
  private readonly logger: Logger
  private refused = 0
  private held = 0
  private changing: Promise<void> = Promise.resolve()
  private roomTimer: NodeJS.Timeout | undefined

  constructor({ broker, store, logger, spool, normal = 'normal', batch, backOff }: RecorderOptions) {
    this.store = store
    this.normal = normal
    this.logger = logger
    this.queue = new WriteQueue({ store, logger, spool, batch, backOff })
    this.firstSeen = new FirstSeen(join(spool.directory, 'first-seen'), logger)
    this.session = new MqttSession({
      ...broker,
      clean: false,
      subscriptions: accessRules.recorder.subscribe.filter(filter => !optionalFilters.includes(filter)),
      onMessage: message => this.take(message),
      logger,
      backOff,
    })
    this.session.on('refused', () => this.refused++)
  }

  get counts(): RecorderCounts {
    const { queue, refused, held } = this
    const { recorded, setAside, length: waiting, spool } = queue
    const { unknownMessages: unknown } = this.session
    return { recorded, dropped: { ...spool.dropped }, setAside: setAside.count, refused, unknown, held, waiting }
  }

  get online(): boolean {
    return this.session.online
  }

  /** Why it takes nothing from the broker; undefined while it does. */
  get holding(): string | undefined {
    return this.roomTimer && this.queue.spool.failure
  }

  /** Why it does not do its work now, for `/readyz`. */
  notReady(): string[] {
    const { queue, holding, session } = this
    const { outage, length } = queue
    const broker = session.online ? undefined : 'not connected to the broker'
    const spool = holding && `the spool cannot be written, messages wait at the broker: ${holding}`
    const store = outage && `the store is away, ${length} points wait: ${outage}`
    return [spool ?? broker, store].filter(reason => reason !== undefined)
  }

  /**
   * Begins connecting; does not wait for the broker, and not for a disk that is full. Throws `DATABASE_FAILED` where there can
   * be no spool.
   */
  async start(): Promise<void> {
    await this.queue.start()
    this.firstSeen.start()
    await this.session.follow(optionalFilters)
    if (this.queue.spool.failure === undefined) await this.session.start()
    else this.hold(this.queue.spool.failure)
  }

  /** Resolves once connected and subscribed. */
  whenOnline(signal?: AbortSignal): Promise<void> {
    return this.session.whenOnline(signal)
  }

  /** Leaves the broker, then writes what is still waiting. */
  async stop(): Promise<void> {
    clearInterval(this.roomTimer)
    this.roomTimer = undefined
    await this.changing
    await this.session.stop()
    this.firstSeen.stop()
    await this.queue.stop()
  }

  /** Throws `HeldMessage` where the disk does not take its points. */
  private take(message: Message): void {
    const points = [pointOf(message, this.receptionTime(message)), auditPointOf(message, this.normal)]
    try {
      this.queue.add(...points.filter(point => point !== undefined))
    } catch (thrown) {
      const error = toFaultlineError(thrown)
      this.held++
      this.hold(this.queue.spool.failure ?? error.message)
      throw new HeldMessage(error)
    }
  }

  /** Leaves the broker until the disk has room. */
  private hold(reason: string): void {
    if (this.roomTimer) return
    this.logger.error(
      { code: 'DATABASE_FAILED', error: reason },
      'the spool cannot be written: messages wait at the broker until it can',
    )
    this.roomTimer = setInterval(() => this.lookForRoom(), roomCheckMs)
    this.change(() => this.session.stop())
  }

  private lookForRoom(): void {
    if (!this.queue.spool.hasRoom()) return
    this.change(async () => {
      if (!this.roomTimer) return
      await this.session.start()
      clearInterval(this.roomTimer)
      this.roomTimer = undefined
      this.logger.info({ held: this.held }, 'the spool can be written again')
    })
  }

  /** One after another: a session is started when it has stopped. */
  private change(work: () => Promise<void>): void {
    this.changing = this.changing.then(work).catch(thrown => {
      const { code, message } = toFaultlineError(thrown)
      this.logger.error({ code, error: message }, 'leaving or joining the broker failed')
    })
  }

  /** Now, or the time of the first delivery for those messages whose points are dated by it. */
  private receptionTime(message: Message): number {
    const now = Date.now()
    if (message.kind === 'verdict') {
      return this.firstSeen.at(`${topicOf(message.address)} ${JSON.stringify(message.payload.id)}`, now)
    }
    if (message.kind !== 'state' && message.kind !== 'server-state') return now
    const { online, boot, at } = message.payload
    const key = `${topicOf(message.address)} ${boot}`
    if (!online && at === undefined) return this.firstSeen.at(key, now)
    // The next will of this boot is of another break.
    if (online) this.firstSeen.forget(key)
    return now
  }
}
