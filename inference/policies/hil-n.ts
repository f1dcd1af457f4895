import { z } from 'zod'
import { Random, type RandomState } from '../random.ts'
import type { Bins } from './bins.ts'
import { Exploration, type ExplorationOptions } from './exploration.ts'
import { factory, positiveShare } from './factory.ts'
import type { Decision, DecisionContext, Feedback, LocalResult } from './policy.ts'
import { randomState } from './state.ts'
import { isWrong, StatefulPolicy } from './stateful.ts'
import { gridParameters, thresholdGrid } from './threshold-grid.ts'
import { ThresholdWeights } from './threshold-weights.ts'

export interface HilNOptions {
  /** The thresholds to choose among. */
  grid: Bins
  exploration: Omit<ExplorationOptions, 'experts'>
  seed: number
  model?: string
}

interface Memory {
  random: RandomState
  silence: number
  logs: number[]
}

/**
 * HIL-N after arXiv 2304.00891 (Moothedath, Champati, Gross), on a fixed grid of thresholds. With probability epsilon a
 * window is escalated to explore; otherwise it is accepted with the probability q of HIL-F. The loss of accepting is
 * estimated as e / epsilon from explorations and as 0 elsewhere, so its mean is right whatever was decided; the error seen
 * on any other escalation is not used, as that would bend the estimate.
 *
 * Whether a round explored, and at which rate, travels in the token. A round that was escalated counts when its verdict
 * comes and not at all when none does; one that was accepted counts at once, as no verdict will come.
 */
export class HilNPolicy extends StatefulPolicy<Memory> {
  readonly name = 'hil-n'
  protected readonly memorySchema: z.ZodType<Memory>
  readonly #grid: Bins
  readonly #exploration: Exploration
  readonly #weights: ThresholdWeights
  #random: Random

  constructor({ grid, exploration, seed, model }: HilNOptions) {
    super(model)
    const count = grid.edges.length
    this.#grid = grid
    this.#exploration = new Exploration({ ...exploration, experts: count })
    this.#weights = new ThresholdWeights(count)
    this.#random = new Random(seed)
    this.memorySchema = z.strictObject({
      random: randomState,
      silence: z.int().nonnegative(),
      logs: z.array(z.number()).length(count),
    })
  }

  protected judge({ confidence }: LocalResult, { price }: DecisionContext): Decision {
    const { rate, step } = this.#exploration.at(price)
    const accepting = this.#grid.indexOf(confidence)
    const acceptShare = this.#weights.acceptShare(accepting)
    // Both are drawn in every round, so that the sequence does not depend on what came of the first.
    const explored = this.#random.uniform() < rate
    const accepted = this.#random.uniform() < acceptShare
    const counts = this.#exploration.tick(rate)
    const numbers = { score: confidence, acceptShare, explorationRate: rate, price }
    if (accepted && !explored) {
      if (counts) this.#weights.charge(accepting, 0, step * price)
      return { action: 'accept', reason: 'drawn-to-accept', numbers }
    }
    const reason = explored ? 'explored' : 'drawn-to-escalate'
    const token = this.token({ explorationRate: explored ? rate : 0 })
    return { action: 'escalate', reason, numbers, token, explores: explored && accepted }
  }

  protected study(feedback: Feedback): void {
    const { local, price, token } = feedback
    const explorationRate = token?.explorationRate
    // Without a token nobody knows whether it was an exploration.
    if (explorationRate === undefined) return
    const { step } = this.#exploration.at(price)
    const estimate = explorationRate > 0 && isWrong(feedback) ? 1 / explorationRate : 0
    if (explorationRate > 0) this.#exploration.silence = 0
    this.#weights.charge(this.#grid.indexOf(local.confidence), step * estimate, step * price)
  }

  protected memory(): Memory {
    return { random: this.#random.state, silence: this.#exploration.silence, logs: this.#weights.logs }
  }

  protected recall({ random, silence, logs }: Memory): void {
    this.#random = new Random(random)
    this.#exploration.silence = silence
    this.#weights.logs = logs
  }
}

const schema = z.strictObject({
  ...gridParameters,
  horizon: z.int().positive().default(100_000),
  explorationRate: positiveShare.optional(),
  step: z.number().positive().optional(),
})

export const createHilN = factory('hil-n', schema, (given, { digest }, seed) => {
  const { horizon, explorationRate: rate, step } = given
  return new HilNPolicy({ grid: thresholdGrid(given), exploration: { horizon, rate, step }, seed, model: digest })
})
