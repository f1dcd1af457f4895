import { EventEmitter, on } from 'node:events'
import type { TelemetryPoint } from '../../telemetry/point.ts'
import type { RefusedPoint, StoreError, TelemetryStore } from '../../telemetry/store.ts'

interface Events {
  write: [points: readonly TelemetryPoint[]]
  failure: [error: unknown]
}

/** A store that tells when it is written to, and can be made to fail. */
export class ObservedStore extends EventEmitter<Events> implements TelemetryStore {
  readonly name = 'observed'
  /** Sizes of the batches that were written. */
  readonly batches: number[] = []
  /** The points it refuses. */
  refuses: (point: TelemetryPoint) => boolean = () => false
  /** Given the points of a write: what to fail with, or nothing. */
  failWith: (points: readonly TelemetryPoint[]) => StoreError | undefined = () => undefined
  private readonly store: TelemetryStore

  constructor(store: TelemetryStore) {
    super()
    this.store = store
  }

  start = (): Promise<void> => this.store.start()
  stop = (): Promise<void> => this.store.stop()
  get upkeep(): TelemetryStore['upkeep'] {
    return this.store.upkeep
  }
  inferences: TelemetryStore['inferences'] = query => this.store.inferences(query)
  history: TelemetryStore['history'] = query => this.store.history(query)
  counts: TelemetryStore['counts'] = query => this.store.counts(query)
  alarms: TelemetryStore['alarms'] = query => this.store.alarms(query)
  updates: TelemetryStore['updates'] = query => this.store.updates(query)
  audits: TelemetryStore['audits'] = query => this.store.audits(query)
  rollUp: TelemetryStore['rollUp'] = (from, until) => this.store.rollUp(from, until)
  series: TelemetryStore['series'] = query => this.store.series(query)

  async write(points: readonly TelemetryPoint[]): Promise<readonly RefusedPoint[]> {
    const refused = points.filter(point => this.refuses(point)).map(point => ({ point, reason: 'wrong type' }))
    const good = points.filter(point => !this.refuses(point))
    try {
      const failure = this.failWith(points)
      if (failure) throw failure
      refused.push(...((await this.store.write(good)) as typeof refused))
    } catch (error) {
      this.emit('failure', error)
      throw error
    }
    this.batches.push(good.length)
    this.emit('write', good)
    return refused
  }

  /** Resolves once so many points were written, counted from the beginning. */
  async untilWritten(points: number): Promise<void> {
    const written = () => this.batches.reduce((sum, size) => sum + size, 0)
    if (written() >= points) return
    for await (const _ of on(this, 'write', { signal: AbortSignal.timeout(30_000) })) if (written() >= points) return
  }
}
