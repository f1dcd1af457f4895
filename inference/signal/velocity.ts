import type { Spectrum } from './spectrum.ts'

/** The range in which ISO 20816-1 judges machines by vibration velocity, in Hz. */
const LOWEST_HZ = 10
const HIGHEST_HZ = 1_000
/** Standard gravity in mm/s². */
const GRAVITY = 9_806.65
/** A Hann window spreads a line's power over so many bins (Harris 1978). */
const HANN_BINS = 1.5

/**
 * Vibration velocity in mm/s RMS between 10 and 1,000 Hz, as ISO 20816-1 grades machines: acceleration in g, integrated line by
 * line of its amplitude spectrum. A window sees nothing slower than its own length: below 10 Hz nothing is counted.
 * @param samples In the window; the spectrum may have been padded to more.
 */
export function velocityRms({ amplitudes, binHz }: Spectrum, samples: number): number {
  const padded = (2 * (amplitudes.length - 1)) / samples
  let square = 0
  for (let i = Math.ceil(LOWEST_HZ / binHz); i < amplitudes.length && i * binHz <= HIGHEST_HZ; i++)
    square += ((amplitudes[i]! * GRAVITY) / (2 * Math.PI * i * binHz)) ** 2 / 2
  return Math.sqrt(square / (HANN_BINS * padded))
}
