import { FaultlineError } from '@faultline/protocol'
import type { Window } from '../window.ts'
import { type Bearing, skf6205 } from './bearing.ts'
import { checkSignal } from './check.ts'
import { envelopeSpectrum, wideBand } from './envelope.ts'
import { HARMONICS, impactOrders, orderBands } from './order-bands.ts'
import { amplitudeSpectrum, bandShares } from './spectrum.ts'
import { timeFeatures } from './time-features.ts'

const BANDS = 8

const timeNames = ['rms', 'meanAbs', 'peak', 'crestFactor', 'kurtosis', 'skewness'] as const
const bandNames = Array.from({ length: BANDS }, (_, i) => `band${i + 1}`)
const orderNames = Object.keys(impactOrders(skf6205)).flatMap(name =>
  Array.from({ length: HARMONICS }, (_, i) => `${name}${i + 1}`),
)

/**
 * Every feature there is, in the order `extractFeatures` gives them: statistics in the time domain; `band1` …
 * `band8`, shares of the spectrum's energy from low to high; `bpfo1` … `shaft3`, shares of the envelope spectrum's energy
 * around the first three harmonics of each defect.
 */
export const featureNames: readonly string[] = [...timeNames, ...bandNames, ...orderNames]
const known = new Set(featureNames)

/**
 * All features of one signal window. Without a shaft speed the order features are 0: where the harmonics lie is not
 * known. Throws `WINDOW_INVALID` for an empty or non-finite window.
 */
export function extractFeatures(window: Window, bearing: Bearing = skf6205): Record<string, number> {
  checkSignal(window)
  const { samples, rateHz, shaftHz } = window
  const features: Record<string, number> = { ...timeFeatures(samples) }
  const shares = bandShares(amplitudeSpectrum(samples, rateHz), BANDS)
  for (const [i, share] of shares.entries()) features[bandNames[i]!] = share
  if (shaftHz === undefined) for (const name of orderNames) features[name] = 0
  else Object.assign(features, orderBands(envelopeSpectrum(samples, rateHz, wideBand(rateHz)), shaftHz, bearing))
  return features
}

/** Throws `FEATURE_UNKNOWN` for the first name that is no feature. */
export function checkFeatureNames(names: readonly string[]): void {
  const wrong = names.find(name => !known.has(name))
  if (wrong !== undefined) throw new FaultlineError('FEATURE_UNKNOWN', `there is no feature "${wrong}"`)
}

/** The named features of a window, in that order. Throws `FEATURE_UNKNOWN` or `WINDOW_INVALID`. */
export function featureVector(window: Window, names: readonly string[], bearing: Bearing = skf6205): Float32Array {
  checkFeatureNames(names)
  const features = extractFeatures(window, bearing)
  return Float32Array.from(names, name => features[name]!)
}
