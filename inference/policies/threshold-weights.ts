/**
 * Exponential weights over thresholds, in rising order and even at the start. In a round in which n of them lie at or
 * below the confidence, those n accept and the others escalate. Weights are kept as logarithms and never normalised:
 * after 10^7 losses of 1 a double still tells them apart to nine digits, and nothing underflows.
 */
export class ThresholdWeights {
  readonly #logs: Float64Array

  constructor(count: number) {
    this.#logs = new Float64Array(count)
  }

  /** The share of the weight that accepts: q in arXiv 2304.00891. */
  acceptShare(accepting: number): number {
    const logs = this.#logs
    let largest = Number.NEGATIVE_INFINITY
    for (let i = 0; i < logs.length; i++) if (logs[i]! > largest) largest = logs[i]!
    let below = 0
    let above = 0
    for (let i = 0; i < accepting; i++) below += Math.exp(logs[i]! - largest)
    for (let i = accepting; i < logs.length; i++) above += Math.exp(logs[i]! - largest)
    return below / (below + above)
  }

  /** Charges the thresholds that accept, and those that escalate; losses times the learning rate. */
  charge(accepting: number, acceptLoss: number, escalateLoss: number): void {
    const logs = this.#logs
    if (acceptLoss !== 0) for (let i = 0; i < accepting; i++) logs[i]! -= acceptLoss
    if (escalateLoss !== 0) for (let i = accepting; i < logs.length; i++) logs[i]! -= escalateLoss
  }

  get logs(): number[] {
    return Array.from(this.#logs)
  }

  set logs(values: readonly number[]) {
    this.#logs.set(values)
  }
}
