import type { Spectrum } from './spectrum.ts'

/** Added to a share of the mean before the logarithm: what lies 40 dB below the mean is noise. */
const LOG_FLOOR = 1e-2

/**
 * The part of a spectrum that no anti-aliasing filter touches. Above it a spectrum shows the filter's slope, which
 * tells recordings apart by their equipment: the CWRU files fall by 50 dB from 5 to 6 kHz, its normal one by 8 dB.
 */
export function belowFilterEdge({ amplitudes, binHz }: Spectrum): Spectrum {
  return { amplitudes: amplitudes.subarray(0, 1 + Math.floor(((amplitudes.length - 1) * 5) / 6)), binHz }
}

/** The spectrum in `length` cells of equal width: the RMS amplitude of each, or the nearest bin where cells are finer. */
export function averaged({ amplitudes }: Spectrum, length: number): Float32Array {
  const bins = amplitudes.length - 1
  return Float32Array.from({ length }, (_, cell) => {
    const first = 1 + Math.floor((cell * bins) / length)
    const end = Math.max(first + 1, 1 + Math.floor(((cell + 1) * bins) / length))
    let energy = 0
    for (let i = first; i < end; i++) energy += amplitudes[i]! ** 2
    return Math.sqrt(energy / (end - first))
  })
}

/** Logarithm of each amplitude as a share of their mean, so that level drops out; 0 for silence. */
export function logarithmic(values: Float32Array): Float32Array {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  return values.map(value => (mean > 0 ? Math.log10(value / mean + LOG_FLOOR) : 0))
}

/**
 * Where a spectrum is high and where it is low, whatever the level: `cells` of equal width from 0 to 5/12 of the sampling
 * rate, each the decimal logarithm of its RMS amplitude over the mean of all, never below -2. All 0 for silence.
 */
export function spectralShape(spectrum: Spectrum, cells: number): Float32Array {
  return logarithmic(averaged(belowFilterEdge(spectrum), cells))
}
