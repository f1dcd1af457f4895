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
  let min = Number.POSITIVE_INFINITY
  let max = Number.NEGATIVE_INFINITY
  for (const value of samples) {
    if (!Number.isFinite(value)) return 'not-finite'
    if (value < min) min = value
    if (value > max) max = value
  }
  if (rateHz === 0 || samples.length === 0) return undefined
  if (min === max) return 'flat'
  if ((isCutOff(samples, max, 1) || isCutOff(samples, min, -1)) && new Set(samples).size >= fewestValues)
    return 'clipped'
  return undefined
}

/** Whether a signal is cut off at its highest value, or with sign -1 at its lowest. */
function isCutOff(samples: Float32Array, end: number, sign: 1 | -1): boolean {
  let atEnd = 0
  let next = Number.NEGATIVE_INFINITY
  let atNext = 0
  for (const value of samples) {
    if (value === end) atEnd++
    else if (value * sign > next) {
      next = value * sign
      atNext = 1
    } else if (value * sign === next) atNext++
  }
  return atEnd >= cutOff.samples && atEnd >= cutOff.timesTheNext * atNext
}
