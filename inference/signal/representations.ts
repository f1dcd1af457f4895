import { FaultlineError } from '@faultline/protocol'
import type { InputDescription } from '../bundle/description.ts'
import type { Window } from '../window.ts'
import { type Bearing, skf6205 } from './bearing.ts'
import { checkSignal } from './check.ts'
import { envelopeSpectrum, wideBand } from './envelope.ts'
import { orderBands } from './order-bands.ts'
import { averaged, logarithmic, spectralShape } from './spectral-shape.ts'
import { amplitudeSpectrum, type Spectrum } from './spectrum.ts'
import { timeFeatures } from './time-features.ts'

/**
 * How a network sees a signal. Each but `samples` and `bearing-signature` fills `length` values with zero mean and unit
 * variance, or 0 where all are equal.
 */
type Representation = (window: Window, length: number, bearing: Bearing) => Float32Array

/** The order axis ends here: past the second harmonic of every defect frequency of common bearings. */
const HIGHEST_ORDER = 12
/** Shares of the envelope's energy are a few hundredths where nothing is wrong. */
const SHARE_SCALE = 100
/** A window with one shock can be arbitrarily skew. */
const MOST_SKEWNESS = 2

const NO_SPEED = 'the model needs the shaft speed and the window has none'

const representations: Record<string, Representation> = {
  samples: ({ samples }, length) => {
    if (samples.length !== length)
      throw new FaultlineError(
        'WINDOW_INVALID',
        `the network takes ${length} samples, the window has ${samples.length}`,
      )
    return Float32Array.from(samples)
  },
  raw: (window, length, bearing) => standardise(representations.samples!(window, length, bearing)),
  spectrum: ({ samples, rateHz }, length) =>
    standardise(logarithmic(averaged(amplitudeSpectrum(samples, rateHz), length))),
  'envelope-spectrum-orders': ({ samples, rateHz, shaftHz }, length) => {
    if (shaftHz === undefined) throw new FaultlineError('WINDOW_INVALID', NO_SPEED)
    return standardise(logarithmic(onOrders(envelopeSpectrum(samples, rateHz, wideBand(rateHz)), shaftHz, length)))
  },
  spectra: (window, length, bearing) => {
    const half = Math.floor(length / 2)
    const both = new Float32Array(length)
    both.set(representations.spectrum!(window, half, bearing))
    both.set(representations['envelope-spectrum-orders']!(window, length - half, bearing), half)
    return both
  },
  'band-limited-spectra': (window, length, bearing) => {
    const half = Math.floor(length / 2)
    const both = new Float32Array(length)
    const spectrum = amplitudeSpectrum(window.samples, window.rateHz)
    both.set(standardise(spectralShape(spectrum, half)))
    both.set(representations['envelope-spectrum-orders']!(window, length - half, bearing), half)
    return both
  },
  'bearing-signature': ({ samples, rateHz, shaftHz }, length, bearing) => {
    if (shaftHz === undefined) throw new FaultlineError('WINDOW_INVALID', NO_SPEED)
    const { crestFactor, kurtosis, skewness } = timeFeatures(samples)
    const shares = orderBands(envelopeSpectrum(samples, rateHz, wideBand(rateHz)), shaftHz, bearing)
    const figures = [
      ...Object.values(shares).map(share => Math.log1p(SHARE_SCALE * share)),
      Math.log(Math.max(1, crestFactor)),
      Math.log(Math.max(1, kurtosis)),
      Math.max(-MOST_SKEWNESS, Math.min(MOST_SKEWNESS, skewness)),
    ]
    const cells = length - figures.length
    if (cells < 1)
      throw new FaultlineError('BUNDLE_INVALID', `a bearing signature has more than ${figures.length} values`)
    const both = new Float32Array(length)
    both.set(standardise(spectralShape(amplitudeSpectrum(samples, rateHz), cells)))
    both.set(figures, cells)
    return both
  },
}

/** Those that are seen in orders. */
const inOrders = ['envelope-spectrum-orders', 'spectra', 'band-limited-spectra', 'bearing-signature']

/** Whether a representation needs the shaft speed. */
export const isOrderRepresentation = (name: string): boolean => inOrders.includes(name)

/**
 * Names a bundle may use: `samples` (as they are), `raw` (the samples standardised), `spectrum` (logarithmic amplitudes from 0 to half the sampling rate),
 * `envelope-spectrum-orders` (logarithmic amplitudes of the squared envelope from 0 to 12 orders; needs the shaft
 * speed), `spectra` (the first half `spectrum`, the second `envelope-spectrum-orders`), `band-limited-spectra` (the same,
 * its spectrum from 0 to 5/12 of the sampling rate), `bearing-signature` (that spectrum, then 18 figures that level does not change:
 * ln(1 + 100 share) of the envelope spectrum's energy around the harmonics of each defect, in the order of `orderBands`, ln of crest
 * factor and of kurtosis, and skewness; needs the shaft speed and is not standardised as a whole).
 */
export const representationNames: readonly string[] = Object.keys(representations)

/**
 * The window as the network sees it, flattened, as many values as `input.shape` holds.
 * Throws `FEATURE_UNKNOWN` for a name that is none of these and `WINDOW_INVALID`.
 */
export function represent(
  window: Window,
  input: Extract<InputDescription, { kind: 'signal' }>,
  bearing: Bearing = skf6205,
): Float32Array {
  const representation = Object.hasOwn(representations, input.representation)
    ? representations[input.representation]
    : undefined
  if (!representation)
    throw new FaultlineError('FEATURE_UNKNOWN', `there is no representation "${input.representation}"`)
  checkSignal(window)
  return representation(
    window,
    input.shape.reduce((product, extent) => product * extent, 1),
    bearing,
  )
}

/** The spectrum at `length` orders from 0 to the highest. */
function onOrders(spectrum: Spectrum, shaftHz: number, length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => between(spectrum, (((i + 0.5) * HIGHEST_ORDER) / length) * shaftHz))
}

/** The amplitude at a frequency that need not be a bin's; 0 past half the sampling rate. */
function between({ amplitudes, binHz }: Spectrum, hz: number): number {
  const at = hz / binHz
  const below = Math.floor(at)
  if (below + 1 >= amplitudes.length) return 0
  return amplitudes[below]! + (at - below) * (amplitudes[below + 1]! - amplitudes[below]!)
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
