import { FaultlineError } from '@faultline/protocol'
import type { InputDescription } from '../bundle/description.ts'
import type { Window } from '../window.ts'
import { checkSignal } from './check.ts'
import { envelopeSpectrum, wideBand } from './envelope.ts'
import { amplitudeSpectrum, type Spectrum } from './spectrum.ts'

/**
 * How a network sees a signal. Each but `samples` fills `length` values with zero mean and unit variance, or 0 where all
 * are equal.
 */
type Representation = (window: Window, length: number) => Float32Array

/** The order axis ends here: past the second harmonic of every defect frequency of common bearings. */
const HIGHEST_ORDER = 12
/** Added to a share of the mean before the logarithm: what lies 40 dB below the mean is noise. */
const LOG_FLOOR = 1e-2

const representations: Record<string, Representation> = {
  samples: ({ samples }, length) => {
    if (samples.length !== length)
      throw new FaultlineError(
        'WINDOW_INVALID',
        `the network takes ${length} samples, the window has ${samples.length}`,
      )
    return Float32Array.from(samples)
  },
  raw: (window, length) => standardise(representations.samples!(window, length)),
  spectrum: ({ samples, rateHz }, length) =>
    standardise(logarithmic(averaged(amplitudeSpectrum(samples, rateHz), length))),
  'envelope-spectrum-orders': ({ samples, rateHz, shaftHz }, length) => {
    if (shaftHz === undefined)
      throw new FaultlineError('WINDOW_INVALID', 'the model needs the shaft speed and the window has none')
    return standardise(logarithmic(onOrders(envelopeSpectrum(samples, rateHz, wideBand(rateHz)), shaftHz, length)))
  },
  spectra: (window, length) => {
    const half = Math.floor(length / 2)
    const both = new Float32Array(length)
    both.set(representations.spectrum!(window, half))
    both.set(representations['envelope-spectrum-orders']!(window, length - half), half)
    return both
  },
  'band-limited-spectra': (window, length) => {
    const half = Math.floor(length / 2)
    const both = new Float32Array(length)
    const spectrum = amplitudeSpectrum(window.samples, window.rateHz)
    both.set(standardise(logarithmic(averaged(belowFilterEdge(spectrum), half))))
    both.set(representations['envelope-spectrum-orders']!(window, length - half), half)
    return both
  },
}

/**
 * Names a bundle may use: `samples` (as they are), `raw` (the samples standardised), `spectrum` (logarithmic amplitudes from 0 to half the sampling rate),
 * `envelope-spectrum-orders` (logarithmic amplitudes of the squared envelope from 0 to 12 orders; needs the shaft
 * speed), `spectra` (the first half `spectrum`, the second `envelope-spectrum-orders`), `band-limited-spectra` (the same,
 * its spectrum from 0 to 5/12 of the sampling rate).
 */
export const representationNames: readonly string[] = Object.keys(representations)

/**
 * The window as the network sees it, flattened, as many values as `input.shape` holds.
 * Throws `FEATURE_UNKNOWN` for a name that is none of these and `WINDOW_INVALID`.
 */
export function represent(window: Window, input: Extract<InputDescription, { kind: 'signal' }>): Float32Array {
  const representation = Object.hasOwn(representations, input.representation)
    ? representations[input.representation]
    : undefined
  if (!representation)
    throw new FaultlineError('FEATURE_UNKNOWN', `there is no representation "${input.representation}"`)
  checkSignal(window)
  return representation(
    window,
    input.shape.reduce((product, extent) => product * extent, 1),
  )
}

/**
 * The part of a spectrum that no anti-aliasing filter touches. Above it a spectrum shows the filter's slope, which
 * tells recordings apart by their equipment: the CWRU files fall by 50 dB from 5 to 6 kHz, its normal one by 8 dB.
 */
function belowFilterEdge({ amplitudes, binHz }: Spectrum): Spectrum {
  return { amplitudes: amplitudes.subarray(0, 1 + Math.floor(((amplitudes.length - 1) * 5) / 6)), binHz }
}

/** The spectrum in `length` cells of equal width: the RMS amplitude of each, or the nearest bin where cells are finer. */
function averaged({ amplitudes }: Spectrum, length: number): Float32Array {
  const bins = amplitudes.length - 1
  return Float32Array.from({ length }, (_, cell) => {
    const first = 1 + Math.floor((cell * bins) / length)
    const end = Math.max(first + 1, 1 + Math.floor(((cell + 1) * bins) / length))
    let energy = 0
    for (let i = first; i < end; i++) energy += amplitudes[i]! ** 2
    return Math.sqrt(energy / (end - first))
  })
}

/** The spectrum between bins, at `length` orders from 0 to the highest; 0 past half the sampling rate. */
function onOrders({ amplitudes, binHz }: Spectrum, shaftHz: number, length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => {
    const at = (((i + 0.5) * HIGHEST_ORDER) / length) * (shaftHz / binHz)
    const below = Math.floor(at)
    if (below + 1 >= amplitudes.length) return 0
    return amplitudes[below]! + (at - below) * (amplitudes[below + 1]! - amplitudes[below]!)
  })
}

/** Logarithm of each amplitude as a share of their mean, so that level drops out; 0 for silence. */
function logarithmic(values: Float32Array): Float32Array {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  return values.map(value => (mean > 0 ? Math.log10(value / mean + LOG_FLOOR) : 0))
}

function standardise(values: Float32Array): Float32Array {
  let sum = 0
  for (const value of values) sum += value
  const mean = sum / values.length
  let square = 0
  for (const value of values) square += (value - mean) ** 2
  const deviation = Math.sqrt(square / values.length)
  return values.map(value => (deviation > 0 ? (value - mean) / deviation : 0))
}
