import type { SensorFault } from '@faultline/protocol'
import type { SourceWindow } from '../sources/source.ts'

/**
 * Of a signal that is cut off, many samples have the highest value and few the one below it. Of a sine of whole numbers,
 * the highest value has at most 2.4 times as many samples as the next, of noise it has fewer.
 */
const cutOff = { samples: 6, timesTheNext: 4 }
/** A sensor of few bits, or one at rest but for a few strikes, may stay at one value. */
const fewestValues = 16

/** What is wrong with a window, if anything, whatever the machine does. Images are only looked at for their numbers. */
export function sensorFaultOf({ window: { samples, rateHz }, gap }: SourceWindow): SensorFault | undefined {
  if (gap) return 'gap'
  const top = new End()
  const bottom = new End()
  // By number: an iterator would take longer than all that is done with the samples.
  for (let i = 0; i < samples.length; i++) {
    const value = samples[i]!
    if (!Number.isFinite(value)) return 'not-finite'
    top.see(value)
    bottom.see(-value)
  }
  if (rateHz === 0 || samples.length === 0) return undefined
  if (top.value === -bottom.value) return 'flat'
  if ((top.isCutOff || bottom.isCutOff) && new Set(samples).size >= fewestValues) return 'clipped'
  return undefined
}

/** The highest value of a signal and the one below it, and how many samples have each. */
class End {
  value = Number.NEGATIVE_INFINITY
  private count = 0
  private next = Number.NEGATIVE_INFINITY
  private ofNext = 0

  see(value: number): void {
    if (value < this.next) return
    if (value === this.value) this.count++
    else if (value > this.value) {
      this.next = this.value
      this.ofNext = this.count
      this.value = value
      this.count = 1
    } else if (value === this.next) this.ofNext++
    else {
      this.next = value
      this.ofNext = 1
    }
  }

  get isCutOff(): boolean {
    return this.count >= cutOff.samples && this.count >= cutOff.timesTheNext * this.ofNext
  }
}
