/** How often to explore, and how fast to learn from it. */
export interface ExplorationParameters {
  /** Probability of an exploratory escalation (epsilon). */
  rate: number
  /** Learning rate (eta). */
  step: number
}

/**
 * The parameters that minimise the bound (rate b + step / (2 rate)) n + ln(experts) / step, which arXiv 2509.15674
 * gives for H2T2 and which has the order known for HIL-N (arXiv 2304.00891):
 * rate = min(1, (ln(experts) / (2 n b^2))^(1/3)), and step = sqrt(2 rate ln(experts) / n) for any rate.
 */
export function bestExploration(horizon: number, experts: number, price: number, fixedRate?: number) {
  const size = Math.log(experts)
  const rate = fixedRate ?? Math.min(1, Math.cbrt(size / (2 * horizon * price ** 2)))
  const step = Math.sqrt((2 * rate * size) / horizon)
  const bound = (rate * price + step / (2 * rate)) * horizon + size / step
  return { rate, step, bound }
}

export interface ExplorationOptions {
  /** Windows the parameters are chosen for (n, T). */
  horizon: number
  experts: number
  /** In place of the theory's. */
  rate?: number
  step?: number
}

/** Rounds between two explorations that were answered are fewer than this over the rate, but for one time in fifty. */
const PATIENCE = 4

/**
 * When to explore and when to charge. The price of escalating is known in every round; the loss of accepting is estimated
 * from answered explorations alone. With no answers at all, as in an outage, only one side of the account would
 * grow, and the policy would come to accept everything. So charging waits while answers are overdue.
 */
export class Exploration {
  /** Rounds since an exploration was answered. */
  silence = 0
  readonly #options: ExplorationOptions
  #price = Number.NaN
  #parameters: ExplorationParameters = { rate: 1, step: 0 }

  constructor(options: ExplorationOptions) {
    this.#options = options
  }

  /** The parameters at a price. */
  at(price: number): ExplorationParameters {
    if (price === this.#price) return this.#parameters
    const { horizon, experts, rate, step } = this.#options
    const best = bestExploration(horizon, experts, price, rate)
    this.#parameters = { rate: best.rate, step: step ?? best.step }
    this.#price = price
    return this.#parameters
  }

  /** Counts a round. False while answers are overdue. */
  tick(rate: number): boolean {
    this.silence++
    return this.silence * rate <= PATIENCE
  }
}
