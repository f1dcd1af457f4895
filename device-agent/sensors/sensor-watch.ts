import { type FaultlineError, type Health, type SensorFault, toFaultlineError } from '@faultline/protocol'
import { maxTimerMs } from '@faultline/runtime'

export type SensorState = NonNullable<Health['points']>[number]

/** Intervals without a window, and time at least, after which a sensor is silent. */
const silence = { intervals: 5, minMs: 10_000 }

export interface SensorWatchOptions {
  point: string
  /** From one window to the next, in ms; sources change. */
  intervalMs: () => number
  /** A fault began, changed or ended. */
  changed: (state: SensorState | undefined) => void
  minMs?: number
}

/** Whether the sensor of one point gives windows that can be judged, and since when it does not. */
export class SensorWatch {
  private readonly options: SensorWatchOptions
  private current: SensorState | undefined
  private timer: NodeJS.Timeout | undefined

  constructor(options: SensorWatchOptions) {
    this.options = options
  }

  /** Undefined where nothing is wrong. */
  get state(): SensorState | undefined {
    return this.current
  }

  /** Windows are expected from now on. */
  begin(): void {
    const { intervalMs, minMs = silence.minMs } = this.options
    clearTimeout(this.timer)
    const ms = Math.min(maxTimerMs, Math.max(minMs, silence.intervals * intervalMs()))
    this.timer = setTimeout(() => this.fault('silent', 0), ms)
  }

  /** None are expected any more. */
  end(): void {
    clearTimeout(this.timer)
  }

  /** A window has come, with a fault or without. */
  window(fault: SensorFault | undefined): void {
    this.begin()
    if (fault) this.fault(fault, 1)
    else if (this.current) {
      this.current = undefined
      this.options.changed(undefined)
    }
  }

  /** The source gave an error instead of windows. */
  failed(thrown: unknown): FaultlineError {
    const error = toFaultlineError(thrown)
    this.end()
    this.fault('failed', 0, error)
    return error
  }

  private fault(fault: SensorFault, windows: number, error?: FaultlineError): void {
    const before = this.current
    const same = before?.fault === fault
    const { point, changed } = this.options
    this.current = {
      point,
      fault,
      since: same ? before.since : new Date().toISOString(),
      windows: (same ? before.windows : 0) + windows,
      ...(error && { error: { code: error.code, message: error.message } }),
    }
    if (!same) changed(this.current)
  }
}
