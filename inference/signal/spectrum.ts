import { magnitude, planOf, transformSize } from './fft.ts'
import { meanOf } from './time-features.ts'

/** A one-sided amplitude spectrum; bin `i` is at `i * binHz`, the last one at half the sampling rate. */
export interface Spectrum {
  /** Amplitude per bin in the unit of the samples: a sine of amplitude A on a bin gives A there. */
  amplitudes: Float64Array
  binHz: number
}

/**
 * One-sided amplitude spectrum through a Hann window, the mean taken off first, corrected for the window's coherent
 * gain (Harris 1978). A length that is no power of two is padded with zeros to the next one: amplitudes stay right, bins
 * lie closer than the resolution.
 */
export function amplitudeSpectrum(samples: Float32Array | Float64Array, rateHz: number): Spectrum {
  const n = samples.length
  const size = transformSize(n)
  const mean = meanOf(samples)
  const window = hann(n)
  const { fft, real: input, complex: output } = planOf(size)
  for (let i = 0; i < n; i++) input[i] = (samples[i]! - mean) * window.values[i]!
  input.fill(0, n)
  fft.realTransform(output, input)

  const bins = size / 2 + 1
  const amplitudes = new Float64Array(bins)
  for (let i = 0; i < bins; i++) {
    // The first and last bin have no mirror image at a negative frequency.
    const sides = i === 0 || i === bins - 1 ? 1 : 2
    amplitudes[i] = (sides * magnitude(output[2 * i]!, output[2 * i + 1]!)) / window.sum
  }
  return { amplitudes, binHz: rateHz / size }
}

const windows = new Map<number, { values: Float64Array; sum: number }>()
const KEPT_WINDOWS = 16

/** Periodic Hann window. The few lengths a process works with are kept. */
function hann(length: number): { values: Float64Array; sum: number } {
  const kept = windows.get(length)
  if (kept) return kept
  const values = new Float64Array(length)
  let sum = 0
  for (let i = 0; i < length; i++) {
    values[i] = length === 1 ? 1 : 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / length)
    sum += values[i]!
  }
  if (windows.size >= KEPT_WINDOWS) windows.clear()
  windows.set(length, { values, sum })
  return { values, sum }
}

/**
 * Share of the spectrum's energy in `count` bands that divide the range from 1/128 of the sampling rate to half of it
 * at equal ratios; everything below belongs to the first. The shares sum to 1, or are all 0 for a silent window.
 */
export function bandShares(spectrum: Spectrum, count: number): number[] {
  const last = spectrum.amplitudes.length - 1
  const octaves = Math.log2(LOWEST_BAND_EDGE)
  const shares = new Array<number>(count).fill(0)
  let total = 0
  for (let i = 1; i <= last; i++) {
    const energy = spectrum.amplitudes[i]! ** 2
    const place = Math.floor(count * (1 + Math.log2(i / last) / octaves))
    shares[Math.min(count - 1, Math.max(0, place))]! += energy
    total += energy
  }
  return total > 0 ? shares.map(share => share / total) : shares
}

/** Half the sampling rate over the lowest edge of the bands. */
const LOWEST_BAND_EDGE = 64
