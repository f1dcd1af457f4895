import { setTimeout as delay } from 'node:timers/promises'
import { type FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { Source, SourceWindow } from '../source.ts'
import { type MqttAccess, Subscription } from './subscription.ts'

export interface ShaftOptions extends MqttAccess {
  /** Of a message that is a bare number. */
  unit: 'hz' | 'rpm'
  /** How long a speed holds that nobody repeats. */
  maximumAgeS: number
}

const retryMs = 5_000

/**
 * Another source's windows with the shaft speed that somebody publishes, such as the drive. Without a speed, or with one
 * that is too old, a window keeps what its source says. What keeps the speed from coming is logged, and is no fault of the
 * sensor.
 */
export class ShaftSource implements Source {
  private readonly source: Source
  private readonly options: ShaftOptions
  private readonly logger: Logger
  private speed: { hz: number; until: number } | undefined

  constructor(source: Source, options: ShaftOptions, logger: Logger) {
    this.source = source
    this.options = options
    this.logger = logger
  }

  get rateHz(): number {
    return this.source.rateHz
  }

  get windowSamples(): number {
    return this.source.windowSamples
  }

  get intervalMs(): number {
    return this.source.intervalMs
  }

  get overruns(): number {
    return this.source.overruns
  }

  get foreign(): number | undefined {
    return this.source.foreign
  }

  async *windows(signal: AbortSignal): AsyncGenerator<SourceWindow, void, void> {
    const ending = new AbortController()
    const following = this.follow(AbortSignal.any([signal, ending.signal]))
    try {
      for await (const taken of this.source.windows(signal)) yield this.withSpeed(taken)
    } finally {
      ending.abort()
      await following
    }
  }

  private withSpeed(taken: SourceWindow): SourceWindow {
    if (!this.speed || performance.now() > this.speed.until) return taken
    return { ...taken, window: { ...taken.window, shaftHz: this.speed.hz } }
  }

  private async follow(signal: AbortSignal): Promise<void> {
    for (let said = ''; !signal.aborted; ) {
      const error = await this.listen(signal).catch(thrown => toFaultlineError(thrown))
      if (!error) return
      // Once, not every few seconds for as long as a broker is down.
      if (error.message !== said) this.logger.warn({ code: error.code, error: error.message }, 'no shaft speed')
      said = error.message
      await delay(retryMs, undefined, { signal }).catch(() => {}) // Only an abort rejects.
    }
  }

  /** Listens until the signal aborts, or until there is no connection any more, and says why. */
  private async listen(signal: AbortSignal): Promise<FaultlineError | undefined> {
    let end: (error?: FaultlineError) => void = () => {}
    const ended = new Promise<FaultlineError | undefined>(resolve => {
      end = resolve
    })
    const subscription = new Subscription(this.options, { message: payload => this.receive(payload), closed: end })
    const aborted = () => end()
    signal.addEventListener('abort', aborted)
    try {
      await Promise.race([subscription.open(), ended])
      return await ended
    } finally {
      signal.removeEventListener('abort', aborted)
      await subscription.close()
    }
  }

  private receive(payload: Buffer): void {
    const hz = shaftHzIn(payload, this.options.unit)
    if (hz === undefined) this.logger.warn({ topic: this.options.topic }, 'a message holds no shaft speed')
    // A shaft that stands still has no orders.
    else if (hz > 0) this.speed = { hz, until: performance.now() + this.options.maximumAgeS * 1_000 }
    else this.speed = undefined
  }
}

/** The speed in a message: a number, `{"hz": 24.8}` or `{"rpm": 1488}`. */
export function shaftHzIn(payload: Buffer, unit: 'hz' | 'rpm'): number | undefined {
  let content: unknown
  try {
    content = JSON.parse(payload.toString('utf8'))
  } catch {
    return undefined
  }
  const { hz, rpm } = (typeof content === 'number' ? { [unit]: content } : (content ?? {})) as Record<string, unknown>
  if (typeof hz === 'number') return hz
  return typeof rpm === 'number' ? rpm / 60 : undefined
}
