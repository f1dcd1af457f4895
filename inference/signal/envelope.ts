import { magnitude, planOf, transformSize } from './fft.ts'
import { amplitudeSpectrum, type Spectrum } from './spectrum.ts'
import { meanOf } from './time-features.ts'

/** Frequencies in Hz kept before demodulation. */
export interface Band {
  lowHz: number
  highHz: number
}

/**
 * The envelope of a signal: the magnitude of its analytic signal, made by transforming, keeping the positive
 * frequencies of `band` (all of them when absent) and transforming back (Randall & Antoni 2011). The
 * band's edges are sharp. A length that is no power of two is padded with zeros and cut again afterwards.
 */
export function envelope(samples: Float32Array | Float64Array, rateHz: number, band?: Band): Float64Array {
  const n = samples.length
  const size = transformSize(n)
  const { fft, real: input, complex: transformed, inverse: analytic } = planOf(size)
  const mean = meanOf(samples)
  for (let i = 0; i < n; i++) input[i] = samples[i]! - mean
  input.fill(0, n)
  fft.realTransform(transformed, input)

  const binHz = rateHz / size
  const first = band ? Math.max(0, Math.ceil(band.lowHz / binHz)) : 0
  const last = band ? Math.min(size / 2, Math.floor(band.highHz / binHz)) : size / 2
  for (let i = first; i <= last; i++) {
    const gain = i === 0 || i === size / 2 ? 1 : 2
    transformed[2 * i]! *= gain
    transformed[2 * i + 1]! *= gain
  }
  transformed.fill(0, 0, 2 * first)
  transformed.fill(0, 2 * (last + 1))
  fft.inverseTransform(analytic, transformed)
  const result = new Float64Array(n)
  for (let i = 0; i < n; i++) result[i] = magnitude(analytic[2 * i]!, analytic[2 * i + 1]!)
  return result
}

/**
 * Amplitude spectrum of the squared envelope, its mean taken off. Squared, because the square of a band-limited signal
 * adds no frequencies above twice the band's width, where the magnitude's square root does (Randall & Antoni 2011).
 * Unit: that of the samples, squared.
 */
export function envelopeSpectrum(samples: Float32Array | Float64Array, rateHz: number, band?: Band): Spectrum {
  const values = envelope(samples, rateHz, band)
  for (let i = 0; i < values.length; i++) values[i]! *= values[i]!
  return amplitudeSpectrum(values, rateHz)
}

/**
 * The band that features demodulate when nothing better is known: from 1/24 of the sampling rate (500 Hz at 12 kHz)
 * to 23/48 of it (5.75 kHz). It leaves out shaft harmonics and the edge of the converter's own filter and keeps the
 * resonances that impacts excite, wherever they lie.
 */
export function wideBand(rateHz: number): Band {
  return { lowHz: rateHz / 24, highHz: (rateHz * 23) / 48 }
}
