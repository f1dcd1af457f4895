import type { Window } from '@faultline/inference'

/** Helpers the signal tests share. */
export const samplesOf = (length: number, at: (i: number) => number): Float32Array =>
  Float32Array.from({ length }, (_, i) => at(i))

export const sine = (length: number, rateHz: number, hz: number, amplitude = 1): Float32Array =>
  samplesOf(length, i => amplitude * Math.sin((2 * Math.PI * hz * i) / rateHz))

export const windowOf = (samples: Float32Array, rateHz = 12_000, shaftHz?: number): Window => ({
  samples,
  shape: [samples.length],
  rateHz,
  ...(shaftHz === undefined ? {} : { shaftHz }),
})

export const near = (actual: number, expected: number, relative: number): boolean =>
  Math.abs(actual - expected) <= relative * Math.abs(expected)
