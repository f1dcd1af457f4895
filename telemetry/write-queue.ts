import { setTimeout as pause } from 'node:timers/promises'
import type { Logger, Service } from '@faultline/runtime'
import type { TelemetryPoint } from './point.ts'
import { StoreError, type TelemetryStore } from './store.ts'

export interface WriteQueueOptions {
  store: TelemetryStore
  logger: Logger
  /** A batch is written when it has so many points, or when its first point is so old. 500 and 1,000 when absent. */
  batch?: { maxPoints: number; maxDelayMs: number }
  /** Points kept while the store is away; 50,000 when absent. Beyond it the oldest are dropped. */
  capacity?: number
  /** First and longest pause after a failure, in ms. 500 and 30,000 when absent. */
  backOff?: { initialMs: number; maximumMs: number }
}

/**
 * Points on their way into a store: collected into batches, written one batch after another, kept in memory and tried
 * again while the store is away. Points that the store refuses for good are dropped alone; the rest of the batch stays.
 */
export class WriteQueue implements Service {
  readonly counts = { recorded: 0, dropped: 0 }
  private readonly store: TelemetryStore
  private readonly logger: Logger
  private readonly batch: { maxPoints: number; maxDelayMs: number }
  private readonly capacity: number
  private readonly backOff: { initialMs: number; maximumMs: number }
  private waiting: TelemetryPoint[] = []
  private inFlight = 0
  private timer: NodeJS.Timeout | undefined
  private writing: Promise<void> | undefined
  private stopping = new AbortController()
  private failures = 0
  private droppedInOutage = 0

  constructor(options: WriteQueueOptions) {
    this.store = options.store
    this.logger = options.logger
    this.batch = options.batch ?? { maxPoints: 500, maxDelayMs: 1_000 }
    this.capacity = options.capacity ?? 50_000
    this.backOff = options.backOff ?? { initialMs: 500, maximumMs: 30_000 }
  }

  /** Points not yet written. */
  get length(): number {
    return this.waiting.length + this.inFlight
  }

  async start(): Promise<void> {
    this.stopping = new AbortController()
  }

  /** Writes what is left, once; what the store does not take then is dropped, counted and logged. */
  async stop(): Promise<void> {
    this.stopping.abort()
    clearTimeout(this.timer)
    this.timer = undefined
    await this.writing
    while (this.waiting.length > 0 && (await this.writeBatch())) {}
    if (this.waiting.length === 0) return
    this.logger.error({ points: this.waiting.length }, 'telemetry lost: the store did not take it before the end')
    this.counts.dropped += this.waiting.length
    this.waiting = []
  }

  add(point: TelemetryPoint): void {
    this.waiting.push(point)
    this.dropOverflow()
    if (this.writing || this.stopping.signal.aborted) return
    if (this.waiting.length >= this.batch.maxPoints) this.beginWriting()
    else this.timer ??= setTimeout(() => this.beginWriting(), this.batch.maxDelayMs)
  }

  private beginWriting(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    this.writing = this.drain().finally(() => {
      this.writing = undefined
    })
  }

  private async drain(): Promise<void> {
    while (this.waiting.length > 0 && !this.stopping.signal.aborted) {
      if (!(await this.writeBatch())) await this.pauseAfterFailure()
    }
  }

  /** False when the store is away; the points then wait again, in their old order. */
  private async writeBatch(): Promise<boolean> {
    const points = this.waiting.splice(0, this.batch.maxPoints)
    this.inFlight = points.length
    const left = await this.writeAll(points)
    this.inFlight = 0
    if (left.length === 0) return true
    this.waiting = [...left, ...this.waiting]
    this.dropOverflow()
    return false
  }

  /** Writes points, narrowing down those that the store refuses; returns those it could not be asked about. */
  private async writeAll(points: TelemetryPoint[]): Promise<TelemetryPoint[]> {
    try {
      await this.store.write(points)
      this.counts.recorded += points.length
      this.reportBack()
      return []
    } catch (error) {
      if (!(error instanceof StoreError) || error.retryable) {
        this.reportOutage(error)
        return points
      }
      if (points.length === 1) {
        this.counts.dropped++
        this.logger.warn({ measurement: points[0]!.measurement, error: error.message }, 'the store refuses a point')
        return []
      }
    }
    // A write may be repeated without harm, so halving the batch finds the refused points.
    const middle = points.length >> 1
    const left = await this.writeAll(points.slice(0, middle))
    const rest = points.slice(middle)
    return left.length > 0 ? [...left, ...rest] : this.writeAll(rest)
  }

  private dropOverflow(): void {
    const excess = this.length - this.capacity
    if (excess <= 0) return
    const dropped = this.waiting.splice(0, excess).length
    this.counts.dropped += dropped
    if (this.droppedInOutage === 0) {
      this.logger.error({ capacity: this.capacity }, 'telemetry is being lost: the queue is full and drops its oldest')
    }
    this.droppedInOutage += dropped
  }

  private async pauseAfterFailure(): Promise<void> {
    const { initialMs, maximumMs } = this.backOff
    const ceiling = Math.min(maximumMs, initialMs * 2 ** Math.min(this.failures - 1, 16))
    // Stopping cuts the pause short.
    await pause(ceiling * (0.5 + Math.random() / 2), undefined, { signal: this.stopping.signal }).catch(() => {})
  }

  private reportOutage(thrown: unknown): void {
    if (this.failures++ > 0) return
    const error = thrown instanceof Error ? thrown.message : String(thrown)
    this.logger.warn({ code: 'STORE_FAILED', error, waiting: this.length }, 'the telemetry store is away')
  }

  private reportBack(): void {
    if (this.failures > 0) {
      this.logger.info({ dropped: this.droppedInOutage, waiting: this.length }, 'the telemetry store is back')
    }
    this.failures = 0
    this.droppedInOutage = 0
  }
}
