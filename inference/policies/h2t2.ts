import { z } from 'zod'
import { Random, type RandomState } from '../random.ts'
import { Bins } from './bins.ts'
import { Exploration, type ExplorationOptions } from './exploration.ts'
import { factory, positiveShare, required, risingShares } from './factory.ts'
import type { Decision, DecisionContext, Feedback, LocalResult } from './policy.ts'
import { randomState } from './state.ts'
import { StatefulPolicy } from './stateful.ts'
import { ThresholdPairs } from './threshold-pairs.ts'

export interface H2T2Options {
  /** Bins of the score, the probability that anything is wrong. */
  bins: Bins
  /**
   * Cost of a fault called normal, and of normal called a fault; at most 1, as the bound assumes. From the price list where
   * they are not given, and 1 without one.
   */
  missedFault?: number
  falseAlarm?: number
  /** The class that means nothing is wrong. */
  normal: string
  exploration: Omit<ExplorationOptions, 'experts'>
  seed: number
  model?: string
}

interface Memory {
  random: RandomState
  silence: number
  lower: number[]
  upper: number[]
}

/**
 * H2T2 after arXiv 2509.15674 (Moothedath, Agarwal, Umeshraja, Gross, Champati, Moharir): exponential weights over pairs
 * of thresholds on the score of "fault", below the first of which it is called normal and from the second a fault.
 * With probability epsilon a window is escalated to explore; losses of the two calls are estimated from explorations
 * alone, as delta / epsilon.
 *
 * A device's answer names a class and cannot be turned round: where the pair drawn calls the side that the model does
 * not, the window is escalated. As with HIL-N, what the estimate needs travels in the token.
 */
export class H2T2Policy extends StatefulPolicy<Memory> {
  readonly name = 'h2t2'
  protected readonly memorySchema: z.ZodType<Memory>
  readonly #options: H2T2Options
  readonly #exploration: Exploration
  readonly #pairs: ThresholdPairs
  #random: Random

  constructor(options: H2T2Options) {
    super(options.model)
    const { count } = options.bins
    this.#options = options
    this.#exploration = new Exploration({ ...options.exploration, experts: ((count + 1) * (count + 2)) / 2 })
    this.#pairs = new ThresholdPairs(count)
    this.#random = new Random(options.seed)
    const logs = z.array(z.number()).length(count + 1)
    this.memorySchema = z.strictObject({
      random: randomState,
      silence: z.int().nonnegative(),
      lower: logs,
      upper: logs,
    })
  }

  protected judge(local: LocalResult, { price }: DecisionContext): Decision {
    const { rate, step } = this.#exploration.at(price)
    const fault = this.#faultScore(local)
    const bin = this.#options.bins.indexOf(fault)
    const { low, high } = this.#pairs.shares(bin)
    const explored = this.#random.uniform() < rate
    const draw = this.#random.uniform()
    const counts = this.#exploration.tick(rate)
    const call = draw < low ? 'normal' : draw < low + high ? 'fault' : undefined
    const side = local.label === this.#options.normal ? 'normal' : 'fault'
    const numbers = {
      score: local.confidence,
      faultScore: fault,
      normalShare: low,
      faultShare: high,
      explorationRate: rate,
      price,
    }
    if (call === side && !explored) {
      if (counts) this.#pairs.charge(bin, { low: 0, high: 0, escalate: step * price })
      return { action: 'accept', reason: call === 'normal' ? 'called-normal' : 'called-fault', numbers }
    }
    const reason = explored ? 'explored' : call ? 'called-otherwise' : 'drawn-to-escalate'
    const token = this.token({ explorationRate: explored ? rate : 0 })
    return { action: 'escalate', reason, numbers, token, explores: explored && call === side }
  }

  protected study({ local, remote, price, costs, token }: Feedback): void {
    const explorationRate = token?.explorationRate
    // Without a token nobody knows whether it was an exploration.
    if (explorationRate === undefined) return
    const { normal, bins } = this.#options
    const { missedFault = costs?.missedFault ?? 1, falseAlarm = costs?.falseAlarm ?? 1 } = this.#options
    const { step } = this.#exploration.at(price)
    const bin = bins.indexOf(this.#faultScore(local))
    const losses = { low: 0, high: 0, escalate: step * price }
    if (explorationRate > 0) {
      this.#exploration.silence = 0
      if (remote.label === normal) losses.high = (step * falseAlarm) / explorationRate
      else losses.low = (step * missedFault) / explorationRate
    }
    this.#pairs.charge(bin, losses)
  }

  protected memory(): Memory {
    return { random: this.#random.state, silence: this.#exploration.silence, ...this.#pairs.logs }
  }

  protected recall({ random, silence, lower, upper }: Memory): void {
    this.#random = new Random(random)
    this.#exploration.silence = silence
    this.#pairs.logs = { lower, upper }
  }

  #faultScore({ probabilities, classes }: LocalResult): number {
    return Math.max(0, 1 - (probabilities[classes.indexOf(this.#options.normal)] ?? 0))
  }
}

const schema = z.strictObject({
  bins: z.int().min(1).max(1_024).default(16),
  edges: risingShares.optional(),
  missedFault: positiveShare.optional(),
  falseAlarm: positiveShare.optional(),
  normal: z.string().optional(),
  horizon: z.int().positive().default(100_000),
  explorationRate: positiveShare.optional(),
  step: z.number().positive().optional(),
})

export const createH2T2 = factory('h2t2', schema, (given, model, seed) => {
  const { missedFault, falseAlarm, horizon, explorationRate: rate, step } = given
  return new H2T2Policy({
    bins: given.edges ? new Bins(given.edges) : Bins.equalWidth(given.bins),
    missedFault,
    falseAlarm,
    normal: required('h2t2', 'the normal class', given.normal ?? model.normal),
    exploration: { horizon, rate, step },
    seed,
    model: model.digest,
  })
})
