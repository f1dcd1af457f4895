import { Resampler } from '@faultline/inference'
import type { SourceWindow } from '../source.ts'
import { sameRate } from '../source-rate.ts'
import { LatestWindow } from './latest-window.ts'
import { shaftHzOf, type Tacho } from './tacho.ts'

export interface LiveWindowsOptions {
  /** Of the windows. */
  rateHz: number
  /** Of the samples that are pushed, where it is another; they are resampled then. */
  sourceHz?: number
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
  /** Shaft speed in Hz, where whoever brings the samples measures it. */
  shaftHz?: number
}

/** Windows out of samples as a sensor gives them, at its own rate, whoever brings them. */
export class LiveWindows {
  readonly intervalMs: number
  private readonly options: LiveWindowsOptions
  /** From the begin of one window to that of the next. */
  private readonly hop: number
  private readonly sourceHz: number
  private readonly resampler: Resampler | undefined
  private samples: Float32Array
  /** The tacho at the rate of the source: a filter would smear its edges. As long as a window, up to the last block. */
  private tacho = new Float32Array(0)
  private shaftHz: number | undefined
  private filled = 0
  private toSkip = 0
  private gap = false
  /** Samples are missing before the next one. */
  private torn = false
  private readonly latest: LatestWindow

  /** @param latest Hands the windows over; one of its own when absent. */
  constructor(options: LiveWindowsOptions, latest = new LatestWindow()) {
    const { windowSamples, rateHz, intervalMs, sourceHz = rateHz } = options
    this.options = options
    this.latest = latest
    this.sourceHz = sourceHz
    if (!sameRate(sourceHz, rateHz)) this.resampler = new Resampler(sourceHz, rateHz)
    this.hop = Math.max(windowSamples, Math.round((intervalMs * rateHz) / 1_000))
    this.intervalMs = (this.hop / rateHz) * 1_000
    this.samples = new Float32Array(windowSamples)
  }

  /** Windows that were complete and not taken. */
  get overruns(): number {
    return this.latest.overruns
  }

  /** Takes a block whose last sample is of this moment. */
  push({ samples: taken, tacho, gap, shaftHz = this.options.shaftHz }: Block): void {
    const { windowSamples, rateHz } = this.options
    if (gap) {
      this.torn = true
      this.resampler?.reset()
    }
    const samples = this.resampler ? this.resampler.push(taken) : taken
    if (tacho) this.tacho = joined(this.tacho, tacho)
    this.shaftHz = shaftHz
    for (let at = 0; at < samples.length; ) {
      if (this.toSkip > 0) {
        const skipped = Math.min(this.toSkip, samples.length - at)
        this.toSkip -= skipped
        at += skipped
        continue
      }
      if (this.torn) this.gap = true
      const fits = Math.min(windowSamples - this.filled, samples.length - at)
      this.samples.set(samples.subarray(at, at + fits), this.filled)
      this.filled += fits
      at += fits
      if (this.filled === windowSamples) this.complete((samples.length - at) / rateHz)
    }
    // A filter that begins anew gives nothing for a while.
    if (samples.length > 0) this.torn = false
    this.tacho = this.tacho.slice(-this.span)
  }

  /** There are no more samples, and why. */
  end(error?: unknown): void {
    this.latest.end(error)
  }

  /** Begins anew: what came before is forgotten. */
  begin(): void {
    this.latest.begin()
    this.resampler?.reset()
    this.tacho = new Float32Array(0)
    this.filled = 0
    this.toSkip = 0
    this.gap = false
    this.torn = false
  }

  /** Until the signal aborts or the samples end. Throws what they ended with. */
  windows(signal: AbortSignal): AsyncGenerator<SourceWindow, void, void> {
    return this.latest.windows(signal)
  }

  /** Samples of the source in a window. */
  private get span(): number {
    return Math.round((this.options.windowSamples * this.sourceHz) / this.options.rateHz)
  }

  private complete(agoS: number): void {
    const { windowSamples, rateHz } = this.options
    const shaftHz = this.options.tacho ? this.speedOf(this.options.tacho, agoS) : this.shaftHz
    this.latest.put({
      window: { samples: this.samples, shape: [windowSamples], rateHz, ...(shaftHz !== undefined && { shaftHz }) },
      at: new Date(Date.now() - agoS * 1_000),
      ...(this.gap && { gap: true as const }),
    })
    this.samples = new Float32Array(windowSamples)
    this.filled = 0
    this.gap = false
    this.toSkip = this.hop - windowSamples
  }

  /** In the window that ended so long ago. */
  private speedOf(tacho: Tacho, agoS: number): number | undefined {
    const end = this.tacho.length - Math.round(agoS * this.sourceHz)
    return shaftHzOf(this.tacho.subarray(Math.max(0, end - this.span), end), this.sourceHz, tacho)
  }
}

function joined(before: Float32Array, after: Float32Array): Float32Array<ArrayBuffer> {
  const both = new Float32Array(before.length + after.length)
  both.set(before)
  both.set(after, before.length)
  return both
}
