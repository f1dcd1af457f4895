import type { ConfidenceCounters } from './confidence-counters.ts'
import { factory } from './factory.ts'
import { HiLcbLitePolicy, hiLcbOptions, hiLcbParameters } from './hi-lcb-lite.ts'

/**
 * HI-LCB after arXiv 2508.08985 (Chattopadhyay, Sutar, Champati, Moharir): HI-LCB-lite, with L the largest bound of the
 * bin and all below it. Accuracy is assumed to grow with confidence, so what is proven of less confident answers
 * holds for this one. O(bins) per window.
 */
export class HiLcbPolicy extends HiLcbLitePolicy {
  override readonly name = 'hi-lcb'

  protected override lowerBound({ bounds }: ConfidenceCounters, bin: number, spread: number): number {
    return bounds.lowerMonotone(bin, spread)
  }
}

export const createHiLcb = factory(
  'hi-lcb',
  hiLcbParameters,
  (given, model) => new HiLcbPolicy(hiLcbOptions(given, model)),
)
