import { setTimeout as delay } from 'node:timers/promises'
import type { Bearing } from '@faultline/inference'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { Logger, Service } from '@faultline/runtime'
import type { PointCommissioning } from './decisions/commissioning-keeper.ts'
import { sensorFaultOf } from './sensors/sensor-check.ts'
import { type SensorState, SensorWatch } from './sensors/sensor-watch.ts'
import type { Source, SourceWindow } from './sources/source.ts'

/** One sensor on one machine. */
export interface AgentPoint {
  point: string
  machine: string
  /** What other machines it is like: they share what policies learn. */
  machineType?: string
  source: Source
  /** The bearing there, for order features; models assume one of their own when absent. */
  bearing?: Bearing
  /** Learns what is normal here before anything is judged; only the local model speaks when absent. */
  commissioning?: PointCommissioning
}

export interface MonitorHandlers {
  /** Handles one window; the next is taken when it is done. */
  window(point: AgentPoint, sourceWindow: SourceWindow): Promise<void>
  /** A window or the source failed; the monitor goes on. */
  failed(): void
  /** Whether this one is judged. */
  takes(point: AgentPoint, sourceWindow: SourceWindow): boolean
  /** What is wrong with a sensor has changed. */
  sensor(): void
}

const retryMs = 5_000

/** Takes the windows of one point, one after the other, and keeps at it when the sensor fails. */
export class PointMonitor implements Service {
  readonly point: AgentPoint
  private readonly handlers: MonitorHandlers
  private readonly logger: Logger
  private readonly stopping = new AbortController()
  private readonly watch: SensorWatch
  private readonly captures = new Set<(window: SourceWindow) => void>()
  private running: Promise<void> = Promise.resolve()

  constructor(point: AgentPoint, handlers: MonitorHandlers, logger: Logger) {
    this.point = point
    this.handlers = handlers
    this.logger = logger.child({ point: point.point })
    this.watch = new SensorWatch({
      point: point.point,
      intervalMs: () => point.source.intervalMs,
      changed: state => this.sensorChanged(state),
    })
  }

  /** What is wrong with the sensor; undefined where nothing is. */
  get sensor(): SensorState | undefined {
    return this.watch.state
  }

  /** The next window, judged or not. Throws `SENSOR_FAILED` when none comes in time. */
  next(withinMs: number): Promise<SourceWindow> {
    const { signal } = this.stopping
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer)
        this.captures.delete(taken)
        signal.removeEventListener('abort', stopped)
      }
      const stopped = () => {
        done()
        reject(new FaultlineError('SENSOR_FAILED', `${this.point.point} was stopped`))
      }
      const taken = (window: SourceWindow) => {
        done()
        resolve(window)
      }
      const timer = setTimeout(() => {
        done()
        reject(new FaultlineError('SENSOR_FAILED', `no window of ${this.point.point} within ${withinMs / 1_000} s`))
      }, withinMs)
      this.captures.add(taken)
      signal.addEventListener('abort', stopped)
      if (signal.aborted) stopped()
    })
  }

  async start(): Promise<void> {
    this.running = this.run(this.stopping.signal)
  }

  async stop(): Promise<void> {
    this.stopping.abort()
    this.watch.end()
    await this.running
  }

  private async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        this.watch.begin()
        for await (const window of this.point.source.windows(signal)) await this.take(window)
        this.watch.end()
        if (!signal.aborted) this.logger.info('the source has no more windows')
        return
      } catch (thrown) {
        const error = this.watch.failed(thrown)
        this.handlers.failed()
        this.logger.error({ code: error.code, error: error.message, retryMs }, 'the source failed')
        await delay(retryMs, undefined, { signal }).catch(() => {}) // Only an abort rejects.
      }
    }
  }

  private sensorChanged(state: SensorState | undefined): void {
    if (state) this.logger.error({ fault: state.fault }, 'the sensor is at fault, its windows are not judged')
    else this.logger.info('the sensor is sound again')
    this.handlers.sensor()
  }

  private async take(sourceWindow: SourceWindow): Promise<void> {
    for (const taken of [...this.captures]) taken(sourceWindow)
    const fault = sensorFaultOf(sourceWindow)
    this.watch.window(fault)
    // What a sensor says that is at fault is no news of the machine.
    if (fault || !this.handlers.takes(this.point, sourceWindow)) return
    const { bearing } = this.point
    const window = bearing ? { ...sourceWindow.window, bearing } : sourceWindow.window
    try {
      await this.handlers.window(this.point, { ...sourceWindow, window })
    } catch (thrown) {
      const error = toFaultlineError(thrown)
      this.handlers.failed()
      this.logger.warn({ code: error.code, error: error.message }, 'window refused')
    }
  }
}
