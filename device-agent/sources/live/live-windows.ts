import type { SourceWindow } from '../source.ts'
import { LatestWindow } from './latest-window.ts'
import { shaftHzOf, type Tacho } from './tacho.ts'

export interface LiveWindowsOptions {
  rateHz: number
  windowSamples: number
  /** From the end of one window to the end of the next; samples in between are passed over. At least a window long. */
  intervalMs: number
  /** Shaft speed in Hz, where it does not change. */
  shaftHz?: number
  /** How the second channel tells the shaft speed. */
  tacho?: Tacho
}

/** Samples of one block: the sensor's, and the tacho's where there is one. */
export interface Block {
  samples: Float32Array
  tacho?: Float32Array
  /** Samples in this block, or before it, were lost. */
  gap?: boolean
}

/** Windows out of samples as a sensor gives them, whoever brings them. */
export class LiveWindows {
  readonly intervalMs: number
  private readonly options: LiveWindowsOptions
  /** From the begin of one window to that of the next. */
  private readonly hop: number
  private samples: Float32Array
  private tacho: Float32Array | undefined
  private filled = 0
  private toSkip = 0
  private gap = false
  private readonly latest = new LatestWindow()

  constructor(options: LiveWindowsOptions) {
    const { windowSamples, rateHz, intervalMs } = options
    this.options = options
    this.hop = Math.max(windowSamples, Math.round((intervalMs * rateHz) / 1_000))
    this.intervalMs = (this.hop / rateHz) * 1_000
    this.samples = new Float32Array(windowSamples)
  }

  /** Windows that were complete and not taken. */
  get overruns(): number {
    return this.latest.overruns
  }

  /** Takes a block whose last sample is of this moment. */
  push({ samples, tacho, gap }: Block): void {
    const { windowSamples, rateHz } = this.options
    for (let at = 0; at < samples.length; ) {
      if (this.toSkip > 0) {
        const skipped = Math.min(this.toSkip, samples.length - at)
        this.toSkip -= skipped
        at += skipped
        continue
      }
      if (gap) this.gap = true
      const taken = Math.min(windowSamples - this.filled, samples.length - at)
      this.samples.set(samples.subarray(at, at + taken), this.filled)
      if (tacho) {
        this.tacho ??= new Float32Array(windowSamples)
        this.tacho.set(tacho.subarray(at, at + taken), this.filled)
      }
      this.filled += taken
      at += taken
      if (this.filled === windowSamples) this.complete(((samples.length - at) / rateHz) * 1_000)
    }
  }

  /** There are no more samples, and why. */
  end(error?: unknown): void {
    this.latest.end(error)
  }

  /** Begins anew: what came before is forgotten. */
  begin(): void {
    this.latest.begin()
    this.filled = 0
    this.toSkip = 0
    this.gap = false
  }

  /** Until the signal aborts or the samples end. Throws what they ended with. */
  windows(signal: AbortSignal): AsyncGenerator<SourceWindow, void, void> {
    return this.latest.windows(signal)
  }

  private complete(agoMs: number): void {
    const { windowSamples, rateHz, tacho, shaftHz: fixed } = this.options
    const shaftHz = tacho && this.tacho ? shaftHzOf(this.tacho, rateHz, tacho) : fixed
    this.latest.put({
      window: { samples: this.samples, shape: [windowSamples], rateHz, ...(shaftHz !== undefined && { shaftHz }) },
      at: new Date(Date.now() - agoMs),
      ...(this.gap && { gap: true as const }),
    })
    this.samples = new Float32Array(windowSamples)
    this.tacho = undefined
    this.filled = 0
    this.gap = false
    this.toSkip = this.hop - windowSamples
  }
}
