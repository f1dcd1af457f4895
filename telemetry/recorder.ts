import { accessRules, type Identity, type Message, topicOf } from '@faultline/protocol'
import { type BrokerAccess, type Logger, MqttSession, type Service } from '@faultline/runtime'
import { auditPointOf, pointOf } from './measurements.ts'
import type { TelemetryStore } from './store.ts'
import { WriteQueue, type WriteQueueOptions } from './write-queue.ts'

export interface RecorderOptions {
  broker: BrokerAccess & { identity: Identity }
  /** Started and stopped by whoever made it, who may read from it too. */
  store: TelemetryStore
  logger: Logger
  /** The class that means nothing is wrong; `normal` when absent. */
  normal?: string
  batch?: WriteQueueOptions['batch']
  capacity?: number
  backOff?: { initialMs: number; maximumMs: number }
}

const maxRemembered = 10_000

/**
 * Writes what the fleet publishes into a store. The broker keeps the session, so that messages of QoS 1 sent while the
 * recorder restarts are delivered when it is back; points that wait for the store are in memory only.
 */
export class Recorder implements Service {
  private readonly queue: WriteQueue
  private readonly session: MqttSession
  private readonly normal: string
  private refused = 0
  /** When each verdict was first seen, so that a second delivery of it is the same point. */
  private readonly firstSeen = new Map<string, number>()

  constructor({ broker, store, logger, normal = 'normal', batch, capacity, backOff }: RecorderOptions) {
    this.normal = normal
    this.queue = new WriteQueue({ store, logger, batch, capacity, backOff })
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

  /** Points written; points lost to a full queue or refused by the store; messages that are not of the contract. */
  get counts(): { recorded: number; dropped: number; refused: number; waiting: number } {
    return { ...this.queue.counts, refused: this.refused, waiting: this.queue.length }
  }

  /** Begins connecting; does not wait for the broker. */
  async start(): Promise<void> {
    await this.queue.start()
    await this.session.start()
  }

  /** Resolves once connected and subscribed. */
  whenOnline(signal?: AbortSignal): Promise<void> {
    return this.session.whenOnline(signal)
  }

  /** Leaves the broker, then writes what is still waiting. */
  async stop(): Promise<void> {
    await this.session.stop()
    await this.queue.stop()
  }

  private record(message: Message): void {
    for (const point of [pointOf(message, this.receptionTime(message)), auditPointOf(message, this.normal)]) {
      if (point) this.queue.add(point)
    }
  }

  private receptionTime(message: Message): number {
    const now = Date.now()
    if (message.kind !== 'verdict') return now
    const key = `${topicOf(message.address)} ${message.payload.id}`
    const before = this.firstSeen.get(key)
    if (before !== undefined) return before
    if (this.firstSeen.size >= maxRemembered) this.firstSeen.delete(this.firstSeen.keys().next().value!)
    this.firstSeen.set(key, now)
    return now
  }
}
