import { setTimeout as pause } from 'node:timers/promises'
import type { Logger, Service } from '@faultline/runtime'
import type { TelemetryPoint } from './point.ts'
import { SetAside } from './set-aside.ts'
import { Spool } from './spool.ts'
import type { TelemetryStore } from './store.ts'

export interface WriteQueueOptions {
  store: TelemetryStore
  logger: Logger
  /** Where points wait. Beyond `maxBytes` (1 GB when absent) and `maxAgeMs` (7 days) the oldest are dropped. */
  spool: { directory: string; maxBytes?: number; maxAgeMs?: number }
  /** A batch is written when it has so many points, or when its first point is so old. 5,000 and 1,000 when absent. */
  batch?: { maxPoints: number; maxDelayMs: number }
  /** First and longest pause after a failure, in ms. 500 and 30,000 when absent. */
  backOff?: { initialMs: number; maximumMs: number }
}

/** How long stopping goes on writing, in ms. What is left stays on disk. */
const maxStopMs = 5_000

const dayMs = 86_400_000

/**
 * Points on their way into a store: collected into batches in a spool on disk, written one batch after another, and tried
 * again while the store is away. Points that the store refuses for good are set aside; the rest of the batch is written.
 */
export class WriteQueue implements Service {
  readonly spool: Spool
  readonly setAside: SetAside
  /** Points written, repetitions included. */
  recorded = 0
  /** Attempts to write a batch that failed. */
  failed = 0
  /** Why the store is away; undefined while it takes what it is given. */
  outage: string | undefined
  private readonly store: TelemetryStore
  private readonly logger: Logger
  private readonly batch: { maxPoints: number; maxDelayMs: number }
  private readonly backOff: { initialMs: number; maximumMs: number }
  private timer: NodeJS.Timeout | undefined
  private writing: Promise<void> | undefined
  private stopping = new AbortController()
  private failures = 0

  constructor({ store, logger, spool, batch, backOff }: WriteQueueOptions) {
    this.store = store
    this.logger = logger
    const { directory, maxBytes = 1e9, maxAgeMs = 7 * dayMs } = spool
    this.spool = new Spool({ directory, maxBytes, maxAgeMs, logger })
    this.setAside = new SetAside(directory, logger)
    this.batch = batch ?? { maxPoints: 5_000, maxDelayMs: 1_000 }
    this.backOff = backOff ?? { initialMs: 500, maximumMs: 30_000 }
  }

  /** Points not yet written. */
  get length(): number {
    return this.spool.length
  }

  /** Begins to write what an earlier run has left. Throws `DATABASE_FAILED` where there can be no spool. */
  async start(): Promise<void> {
    this.stopping = new AbortController()
    this.spool.start()
    if (this.spool.length === 0) return
    this.logger.info({ points: this.spool.length }, 'telemetry of an earlier run waits to be written')
    // A store that was away when it was started is being asked already; two at a time would take each other's batches.
    if (!this.writing) this.beginWriting()
  }

  /** Writes what is left as long as the store takes it, five seconds at most; the rest waits on disk for the next start. */
  async stop(): Promise<void> {
    this.stopping.abort()
    clearTimeout(this.timer)
    this.timer = undefined
    await this.writing
    this.spool.close()
    const end = performance.now() + maxStopMs
    while (performance.now() < end && (await this.writeBatch())) {}
    const points = this.spool.length
    if (points > 0) this.logger.warn({ points }, 'telemetry stays in the spool for the next start')
    this.spool.stop()
  }

  /** Resolves once nothing waits any more. */
  async whenWritten(): Promise<void> {
    while (this.length > 0) {
      if (!this.writing) this.beginWriting()
      await this.writing
    }
  }

  /** All of these points are on disk when it returns. Throws `DATABASE_FAILED` where the disk takes none of them. */
  add(...points: TelemetryPoint[]): void {
    if (points.length === 0) return
    this.spool.append(...points)
    if (this.spool.collected >= this.batch.maxPoints) this.spool.close()
    if (this.writing || this.stopping.signal.aborted) return
    if (this.spool.collected === 0) this.beginWriting()
    else this.awaitMore()
  }

  private awaitMore(): void {
    this.timer ??= setTimeout(() => this.beginWriting(), this.batch.maxDelayMs)
  }

  private beginWriting(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    this.spool.close()
    this.writing = this.drain().then(() => {
      this.writing = undefined
      if (this.stopping.signal.aborted) return
      if (this.spool.waitedMs !== undefined) this.beginWriting()
      else if (this.spool.collected > 0) this.awaitMore()
    })
  }

  /** The store could not be started: it is asked until it is back, whether there is something to write or not. */
  storeAway(thrown: unknown): void {
    this.reportOutage(thrown)
    if (!this.writing) this.beginWriting()
  }

  private async drain(): Promise<void> {
    while (!this.stopping.signal.aborted && (this.spool.waitedMs !== undefined || this.outage !== undefined)) {
      if (!(await this.writeBatch())) await this.pauseAfterFailure()
    }
  }

  /** False when the store is away, and when nothing waits. Never rejects. */
  private async writeBatch(): Promise<boolean> {
    const batch = this.spool.take() ?? (this.outage === undefined ? undefined : { points: [], damaged: [] })
    if (!batch) return false
    try {
      // What cannot be set aside stays in the spool, and is written again: that does no harm.
      const refused = await this.store.write(batch.points)
      this.setAside.add([...refused, ...batch.damaged.map(point => ({ point, reason: 'damaged in the spool' }))])
      this.recorded += batch.points.length - refused.length
      this.spool.done()
      this.reportBack()
      return true
    } catch (error) {
      this.reportOutage(error)
      this.spool.putBack()
      return false
    }
  }

  private async pauseAfterFailure(): Promise<void> {
    const { initialMs, maximumMs } = this.backOff
    const ceiling = Math.min(maximumMs, initialMs * 2 ** Math.min(Math.max(this.failures - 1, 0), 16))
    // Stopping cuts the pause short.
    await pause(ceiling * (0.5 + Math.random() / 2), undefined, { signal: this.stopping.signal }).catch(() => {})
  }

  private reportOutage(thrown: unknown): void {
    this.failed++
    this.outage = thrown instanceof Error ? thrown.message : String(thrown)
    if (this.failures++ > 0) return
    const waiting = this.length
    this.logger.warn({ code: 'STORE_FAILED', error: this.outage, waiting }, 'the telemetry store is away')
  }

  private reportBack(): void {
    if (this.failures > 0) this.logger.info({ waiting: this.length }, 'the telemetry store is back')
    this.failures = 0
    this.outage = undefined
  }
}
