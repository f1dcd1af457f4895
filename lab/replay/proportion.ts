import { betaQuantile } from '@faultline/protocol'

/** The 95 % interval of a share of which so many were seen; both may be broken numbers, as effective sizes are. */
export interface ShareInterval {
  low: number
  high: number
}

const TAIL = 0.025

/**
 * Clopper & Pearson's exact interval (Biometrika 26, 1934) as quantiles of beta distributions, which also takes the
 * effective numbers of a weighted sample (Korn & Graubard, Survey Methodology 24, 1998). Without draws nothing is known.
 */
export function shareInterval(hits: number, draws: number): ShareInterval {
  if (!(draws > 0)) return { low: 0, high: 1 }
  return {
    low: hits <= 0 ? 0 : betaQuantile(TAIL, hits, draws - hits + 1),
    high: hits >= draws ? 1 : betaQuantile(1 - TAIL, hits + 1, draws - hits),
  }
}
