import { z } from 'zod'
import { Bins } from './bins.ts'
import { risingShares } from './factory.ts'

/**
 * The thresholds a policy chooses among, fixed in advance. The papers refine theirs with every new confidence value,
 * which takes ever more memory and makes the bound depend on the smallest gap between two values; on a grid the gap
 * is known and the memory bounded.
 */
export const gridParameters = {
  /** Confidence is compared at a resolution of so many bits: 2^bits thresholds, evenly spaced. */
  bits: z.int().min(1).max(10).default(6),
  /** In place of an even grid: the thresholds, rising. Best laid where confidence values are dense. */
  thresholds: risingShares.optional(),
}

/** `indexOf(p)` says how many thresholds are at or below p. The highest of an even grid is 1: only certainty passes it. */
export function thresholdGrid({ bits, thresholds }: { bits: number; thresholds?: readonly number[] }): Bins {
  if (thresholds) return new Bins(thresholds)
  const count = 2 ** bits
  return new Bins(Array.from({ length: count }, (_, i) => (i + 1) / count))
}
