import type { Bearing } from './bearing.ts'
import type { Spectrum } from './spectrum.ts'

/** Harmonics looked at per defect. */
export const HARMONICS = 3
/** Half the width of a band as a share of its frequency: balls slip by 1 to 2 %, and speed readings err. */
const SLIP = 0.025

/** Impact rates in orders, by the short name used in feature names. `bsf` is at twice the spin, where impacts are. */
export function impactOrders(bearing: Bearing): Record<string, number> {
  return { bpfo: bearing.bpfo, bpfi: bearing.bpfi, bsf: 2 * bearing.bsf, ftf: bearing.ftf, shaft: 1 }
}

/**
 * Energy of an envelope spectrum around the harmonics of each defect, as a share of its whole energy, so that it says
 * nothing of the level. Keys `bpfo1` … `shaft3`. A band reaches 2.5 % to each side and at least one bin; bands may
 * overlap. All 0 for a silent window.
 */
export function orderBands(spectrum: Spectrum, shaftHz: number, bearing: Bearing): Record<string, number> {
  const { amplitudes, binHz } = spectrum
  let total = 0
  for (let i = 1; i < amplitudes.length; i++) total += amplitudes[i]! ** 2
  const shares: Record<string, number> = {}
  for (const [name, order] of Object.entries(impactOrders(bearing))) {
    for (let harmonic = 1; harmonic <= HARMONICS; harmonic++) {
      const centre = (harmonic * order * shaftHz) / binHz
      const half = Math.max(1, SLIP * centre)
      let energy = 0
      const end = Math.min(amplitudes.length - 1, Math.floor(centre + half))
      for (let i = Math.max(1, Math.ceil(centre - half)); i <= end; i++) energy += amplitudes[i]! ** 2
      shares[`${name}${harmonic}`] = total > 0 ? energy / total : 0
    }
  }
  return shares
}
