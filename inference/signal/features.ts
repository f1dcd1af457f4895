import { FaultlineError } from '@faultline/protocol'
import type { Window } from '../window.ts'
import { type Bearing, skf6205 } from './bearing.ts'
import { checkSignal } from './check.ts'
import { envelopeSpectrum, wideBand } from './envelope.ts'
import { HARMONICS, impactOrders, orderBands } from './order-bands.ts'
import { spectralShape } from './spectral-shape.ts'
import { amplitudeSpectrum, bandShares } from './spectrum.ts'
import { timeFeatures } from './time-features.ts'
import { velocityRms } from './velocity.ts'

const BANDS = 8
/** Cells of the spectral shape: as few as tell one machine's faults apart. */
const CELLS = 16

const timeNames = ['rms', 'meanAbs', 'peak', 'crestFactor', 'kurtosis', 'skewness'] as const
const bandNames = Array.from({ length: BANDS }, (_, i) => `band${i + 1}`)
const shapeNames = Array.from({ length: CELLS }, (_, i) => `shape${i + 1}`)
const orderNames = Object.keys(impactOrders(skf6205)).flatMap(name =>
  Array.from({ length: HARMONICS }, (_, i) => `${name}${i + 1}`),
)

/**
 * Every feature there is, in the order `extractFeatures` gives them: statistics in the time domain; `velocityRms`
 * in mm/s for samples in g; `band1` …
 * `band8`, shares of the spectrum's energy from low to high; `shape1` … `shape16`, the spectrum's shape whatever its level
 * (`spectral-shape.ts`); `bpfo1` … `shaft3`, shares of the envelope spectrum's energy
 * around the first three harmonics of each defect.
 */
export const featureNames: readonly string[] = [...timeNames, 'velocityRms', ...bandNames, ...shapeNames, ...orderNames]
const known = new Set(featureNames)

/**
 * The features of one signal window: all of them, or without a shaft speed those that are no order features. Where the
 * harmonics lie is not known then, and a 0 in their place would say that there is no fault. Where neither the caller nor
 * the window says which bearing it is, it is taken for a 6205.
 * Throws `WINDOW_INVALID` for an empty or non-finite window.
 */
export function extractFeatures(window: Window, bearing: Bearing = window.bearing ?? skf6205): Record<string, number> {
  checkSignal(window)
  const { samples, rateHz, shaftHz } = window
  const features: Record<string, number> = { ...timeFeatures(samples) }
  const spectrum = amplitudeSpectrum(samples, rateHz)
  features.velocityRms = velocityRms(spectrum, samples.length)
  for (const [i, share] of bandShares(spectrum, BANDS).entries()) features[bandNames[i]!] = share
  for (const [i, height] of spectralShape(spectrum, CELLS).entries()) features[shapeNames[i]!] = height
  if (shaftHz !== undefined)
    Object.assign(features, orderBands(envelopeSpectrum(samples, rateHz, wideBand(rateHz)), shaftHz, bearing))
  return features
}

/** Whether a feature is seen in orders, and needs the shaft speed. */
export const isOrderFeature = (name: string): boolean => orderNames.includes(name)

/** Throws `FEATURE_UNKNOWN` for the first name that is no feature. */
export function checkFeatureNames(names: readonly string[]): void {
  const wrong = names.find(name => !known.has(name))
  if (wrong !== undefined) throw new FaultlineError('FEATURE_UNKNOWN', `there is no feature "${wrong}"`)
}

/**
 * Those of a window's features that are named, in that order. Throws `FEATURE_UNKNOWN`, and `WINDOW_INVALID` for an
 * order feature that the window lacks because nobody knows its shaft speed.
 */
export function pickFeatures(features: Readonly<Record<string, number>>, names: readonly string[]): number[] {
  checkFeatureNames(names)
  return names.map(name => {
    const value = features[name]
    if (value !== undefined) return value
    throw new FaultlineError('WINDOW_INVALID', `the feature "${name}" needs the shaft speed and the window has none`)
  })
}

/** The named features of a window, in that order. Throws `FEATURE_UNKNOWN` or `WINDOW_INVALID`. */
export function featureVector(window: Window, names: readonly string[], bearing?: Bearing): Float32Array {
  return Float32Array.from(pickFeatures(extractFeatures(window, bearing), names))
}
