/** How the weight of all pairs is shared in a round; sums to one. */
export interface PairShares {
  /** Call it class 0. */
  low: number
  /** Call it class 1. */
  high: number
  escalate: number
}

/** Losses of the three opinions, times the learning rate. */
export interface PairLosses {
  low: number
  high: number
  escalate: number
}

/**
 * Exponential weights over pairs of thresholds (l, u), 0 <= l <= u <= bins. Of a score in bin k the pair says low
 * where k < l, high where k >= u, escalate between.
 *
 * A pair's loss is the sum of one that depends on l and one that depends on u: with b for escalating, charge l with
 * the loss of low where k < l and with b elsewhere, and u with the loss of high less b where k >= u. So 2 (bins + 1)
 * logarithms stand for all (bins + 1)(bins + 2) / 2 weights, exactly, and a round takes O(bins).
 */
export class ThresholdPairs {
  readonly #lower: Float64Array
  readonly #upper: Float64Array
  /** The summed weights of `upper` from i on are `tails[i] * e^scales[i]`, the scale being the largest logarithm among them. */
  readonly #scales: Float64Array
  readonly #tails: Float64Array

  constructor(bins: number) {
    this.#lower = new Float64Array(bins + 1)
    this.#upper = new Float64Array(bins + 1)
    this.#scales = new Float64Array(bins + 1)
    this.#tails = new Float64Array(bins + 1)
  }

  /** ln of the weight of a pair, 0 at the start. */
  logWeight(l: number, u: number): number {
    return this.#lower[l]! + this.#upper[u]!
  }

  shares(bin: number): PairShares {
    const [lower, upper, scales, tails] = [this.#lower, this.#upper, this.#scales, this.#tails]
    let scale = Number.NEGATIVE_INFINITY
    let tail = 0
    let largest = Number.NEGATIVE_INFINITY
    for (let i = lower.length - 1; i >= 0; i--) {
      const log = upper[i]!
      if (log > scale) {
        tail = tail * Math.exp(scale - log) + 1
        scale = log
      } else tail += Math.exp(log - scale)
      scales[i] = scale
      tails[i] = tail
      if (lower[i]! + scale > largest) largest = lower[i]! + scale
    }
    const [scaleAbove, tailAbove] = [scales[bin + 1]!, tails[bin + 1]!]
    // Scales are maxima from the right, so they change seldom, and so does the exponential of their difference.
    let fall = 1
    scale = scaleAbove
    let low = 0
    let asking = 0
    let rest = 0
    for (let i = lower.length - 1; i >= 0; i--) {
      const weight = Math.exp(lower[i]! + scales[i]! - largest)
      if (i > bin) {
        low += weight * tails[i]!
        continue
      }
      if (scales[i] !== scale) {
        scale = scales[i]!
        fall = Math.exp(scaleAbove - scale)
      }
      rest += weight * tails[i]!
      asking += weight * fall * tailAbove
    }
    const total = low + rest
    return { low: low / total, high: Math.max(0, rest - asking) / total, escalate: asking / total }
  }

  charge(bin: number, { low, high, escalate }: PairLosses): void {
    const [lower, upper] = [this.#lower, this.#upper]
    for (let i = 0; i <= bin; i++) {
      lower[i]! -= escalate
      upper[i]! -= high - escalate
    }
    if (low !== 0) for (let i = bin + 1; i < lower.length; i++) lower[i]! -= low
  }

  get logs(): { lower: number[]; upper: number[] } {
    return { lower: Array.from(this.#lower), upper: Array.from(this.#upper) }
  }

  set logs({ lower, upper }: { lower: readonly number[]; upper: readonly number[] }) {
    this.#lower.set(lower)
    this.#upper.set(upper)
  }
}
