import { join } from 'node:path'
import { accessRules, type Identity, type Message, topicOf } from '@faultline/protocol'
import { type BrokerAccess, type Logger, MqttSession, type Service } from '@faultline/runtime'
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
  /** Points lost: to a full spool, to their age there, and to a disk that took nothing. */
  dropped: { full: number; age: number; disk: number }
  /** Points that the store refuses for good. */
  setAside: number
  /** Messages that are not of the contract. */
  refused: number
  /** Messages of kinds that only a later version of the contract knows. */
  unknown: number
  /** Points in the spool. */
  waiting: number
}

/**
 * Writes what the fleet publishes into a store. A message of QoS 1 is acknowledged when its points are in the spool, and
 * the broker keeps the session: whatever ends, store, recorder or connection, its points are written in the end, and once.
 */
export class Recorder implements Service {
  readonly queue: WriteQueue
  private readonly session: MqttSession
  private readonly firstSeen: FirstSeen
  private readonly normal: string
  private refused = 0

  constructor({ broker, store, logger, spool, normal = 'normal', batch, backOff }: RecorderOptions) {
    this.normal = normal
    this.queue = new WriteQueue({ store, logger, spool, batch, backOff })
    this.firstSeen = new FirstSeen(join(spool.directory, 'first-seen'), logger)
    this.session = new MqttSession({
      ...broker,
      clean: false,
      subscriptions: accessRules.recorder.subscribe,
      onMessage: message => this.record(message),
      logger,
      backOff,
    })
    this.session.on('refused', () => this.refused++)
  }

  get counts(): RecorderCounts {
    const { recorded, setAside, length: waiting, spool } = this.queue
    const { unknownMessages: unknown } = this.session
    return {
      recorded,
      dropped: { ...spool.dropped },
      setAside: setAside.count,
      refused: this.refused,
      unknown,
      waiting,
    }
  }

  get online(): boolean {
    return this.session.online
  }

  /** Why it does not do its work now, for `/readyz`. */
  notReady(): string[] {
    const { outage, length } = this.queue
    return [
      ...(this.session.online ? [] : ['not connected to the broker']),
      ...(outage === undefined ? [] : [`the store is away, ${length} points wait: ${outage}`]),
    ]
  }

  /** Begins connecting; does not wait for the broker. Throws `DATABASE_FAILED` where there can be no spool. */
  async start(): Promise<void> {
    await this.queue.start()
    this.firstSeen.start()
    await this.session.start()
  }

  /** Resolves once connected and subscribed. */
  whenOnline(signal?: AbortSignal): Promise<void> {
    return this.session.whenOnline(signal)
  }

  /** Leaves the broker, then writes what is still waiting. */
  async stop(): Promise<void> {
    await this.session.stop()
    this.firstSeen.stop()
    await this.queue.stop()
  }

  private record(message: Message): void {
    for (const point of [pointOf(message, this.receptionTime(message)), auditPointOf(message, this.normal)]) {
      if (point) this.queue.add(point)
    }
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
