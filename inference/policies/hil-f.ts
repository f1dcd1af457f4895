import { z } from 'zod'
import { Random, type RandomState } from '../random.ts'
import type { Bins } from './bins.ts'
import { factory } from './factory.ts'
import type { Decision, DecisionContext, Feedback, LocalResult } from './policy.ts'
import { randomState } from './state.ts'
import { isWrong, StatefulPolicy } from './stateful.ts'
import { gridParameters, thresholdGrid } from './threshold-grid.ts'
import { ThresholdWeights } from './threshold-weights.ts'

export interface HilFOptions {
  /** The thresholds to choose among. */
  grid: Bins
  /** Learning rate (eta). */
  step: number
  seed: number
  model?: string
}

interface Memory {
  random: RandomState
  logs: number[]
}

/** eta = sqrt(8 ln(experts) / n), which makes the regret over n rounds at most sqrt(n ln(experts) / 2). */
export const hilFStep = (horizon: number, experts: number) => Math.sqrt((8 * Math.log(experts)) / horizon)

/**
 * HIL-F after arXiv 2304.00891 (Moothedath, Champati, Gross): prediction with the advice of thresholds on confidence, on
 * a fixed grid. Accepts with the probability q = P(threshold <= p) under the weights; every round of known truth
 * multiplies the weights by exp(-eta loss), the loss being e for thresholds that accept and b for those that escalate.
 *
 * The theory wants the truth of every round. Where truth is known of escalated windows alone, the weights learn from
 * those rounds as a whole, the others change nothing, and no truth is made up: the bound does not hold then, and a
 * policy that has come to accept everything no longer learns.
 */
export class HilFPolicy extends StatefulPolicy<Memory> {
  readonly name = 'hil-f'
  readonly fullFeedback = true
  protected readonly memorySchema: z.ZodType<Memory>
  readonly #grid: Bins
  readonly #step: number
  readonly #weights: ThresholdWeights
  #random: Random

  constructor({ grid, step, seed, model }: HilFOptions) {
    super(model)
    const count = grid.edges.length
    this.#grid = grid
    this.#step = step
    this.#weights = new ThresholdWeights(count)
    this.#random = new Random(seed)
    this.memorySchema = z.strictObject({ random: randomState, logs: z.array(z.number()).length(count) })
  }

  protected judge({ confidence }: LocalResult, { price }: DecisionContext): Decision {
    const acceptShare = this.#weights.acceptShare(this.#grid.indexOf(confidence))
    const numbers = { score: confidence, acceptShare, price }
    const token = this.token()
    return this.#random.uniform() < acceptShare
      ? { action: 'accept', reason: 'drawn-to-accept', numbers, token }
      : { action: 'escalate', reason: 'drawn-to-escalate', numbers, token }
  }

  protected study(feedback: Feedback): void {
    const accepting = this.#grid.indexOf(feedback.local.confidence)
    this.#weights.charge(accepting, isWrong(feedback) ? this.#step : 0, this.#step * feedback.price)
  }

  protected memory(): Memory {
    return { random: this.#random.state, logs: this.#weights.logs }
  }

  protected recall({ random, logs }: Memory): void {
    this.#random = new Random(random)
    this.#weights.logs = logs
  }
}

const schema = z.strictObject({
  ...gridParameters,
  horizon: z.int().positive().default(100_000),
  step: z.number().positive().optional(),
})

export const createHilF = factory('hil-f', schema, (given, { digest }, seed) => {
  const grid = thresholdGrid(given)
  return new HilFPolicy({ grid, step: given.step ?? hilFStep(given.horizon, grid.edges.length), seed, model: digest })
})
