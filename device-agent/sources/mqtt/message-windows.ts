import { resample } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import type { LatestWindow } from '../live/latest-window.ts'
import { LiveWindows } from '../live/live-windows.ts'
import { checkBand, sameRate } from '../source-rate.ts'
import type { WindowMessage } from './window-message.ts'

export interface MessageWindowsOptions {
  /** Of the windows. */
  rateHz: number
  windowSamples: number
  /** How often a window is wanted of a stream in parts. */
  intervalMs: number
  /** Of the samples, where messages do not say. */
  sourceHz?: number
  /** Shaft speed in Hz, where messages do not say. */
  shaftHz?: number
}

/**
 * Windows out of messages of any length: one that holds a window is one, and what it has beyond that is passed over. Shorter
 * ones are parts of a stream and are joined by their numbers. Windows go to `latest`.
 */
export class MessageWindows {
  private readonly options: MessageWindowsOptions
  private readonly latest: LatestWindow
  private parts: { windows: LiveWindows; sourceHz: number } | undefined
  private last: number | undefined

  constructor(options: MessageWindowsOptions, latest: LatestWindow) {
    this.options = options
    this.latest = latest
  }

  /** Begins anew with the next message: what is not whole yet is forgotten. */
  begin(): void {
    this.parts = undefined
  }

  /** Throws `SENSOR_FAILED` for a part without a number, and for a rate that is too low. */
  take(message: WindowMessage): void {
    const { rateHz, windowSamples, sourceHz: stated = rateHz } = this.options
    const { number, rateHz: sourceHz = stated } = message
    checkBand('a message', sourceHz, rateHz, 'SENSOR_FAILED')
    const wanted = sameRate(sourceHz, rateHz) ? windowSamples : Math.floor((windowSamples * sourceHz) / rateHz)
    const whole = message.samples.length >= wanted
    if (!whole && number === undefined)
      throw new FaultlineError(
        'SENSOR_FAILED',
        `${message.samples.length} samples in a message, a window takes ${wanted}: parts of one need numbers, to be joined by`,
      )
    if (number !== undefined && number === this.last) return
    // A lower number: the sender has begun anew, or its counter has.
    const gap = number !== undefined && this.last !== undefined && number > this.last + 1
    const restarted = number !== undefined && this.last !== undefined && number < this.last
    this.last = number
    if (whole) this.put(message, sourceHz, gap)
    else this.join(message, sourceHz, gap || restarted)
  }

  private put({ samples, shaftHz = this.options.shaftHz }: WindowMessage, sourceHz: number, gap: boolean): void {
    const { rateHz, windowSamples } = this.options
    const taken = sameRate(sourceHz, rateHz) ? samples : resample(samples, sourceHz, rateHz)
    this.latest.put({
      window: {
        samples: taken.slice(0, windowSamples),
        shape: [windowSamples],
        rateHz,
        ...(shaftHz !== undefined && { shaftHz }),
      },
      at: new Date(),
      ...(gap && { gap: true as const }),
    })
  }

  private join({ samples, shaftHz = this.options.shaftHz }: WindowMessage, sourceHz: number, gap: boolean): void {
    if (this.parts?.sourceHz !== sourceHz)
      this.parts = { windows: new LiveWindows({ ...this.options, sourceHz }, this.latest), sourceHz }
    this.parts.windows.push({ samples, gap, ...(shaftHz !== undefined && { shaftHz }) })
  }
}
