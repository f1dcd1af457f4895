import { z } from 'zod'
import { factory, required } from './factory.ts'
import type { Decision, DecisionContext, LocalResult } from './policy.ts'
import { StatelessPolicy } from './stateless.ts'

/** What wrong accepted answers cost, in the unit of the price. */
export interface ErrorCosts {
  /** A fault accepted as normal (dFN). */
  missedFault: number
  /** Normal accepted as a fault (dFP). */
  falseAlarm: number
  /** A fault accepted under another fault's name. */
  wrongFault: number
}

export interface CalibratedOptions {
  costs: ErrorCosts
  /** The class that means nothing is wrong. Not needed where all errors cost 1. */
  normal?: string
  model?: string
}

/**
 * The closed form for a calibrated score of "fault" with two outcomes (after arXiv 2509.15674; plain Bayes): call it
 * normal below `lower`, a fault from `upper`, ask in between. Where asking never pays the two are the same.
 */
export function twoThresholds(
  price: number,
  { missedFault, falseAlarm }: Pick<ErrorCosts, 'missedFault' | 'falseAlarm'>,
): { lower: number; upper: number } {
  const both = missedFault + falseAlarm
  if (price < (missedFault * falseAlarm) / both) return { lower: price / missedFault, upper: 1 - price / falseAlarm }
  return { lower: falseAlarm / both, upper: falseAlarm / both }
}

/**
 * Accepts when the answer costs no more than asking, if the probabilities are true: with all errors costing 1, when
 * 1 - p1 <= price. With two classes and costs of their own this is `twoThresholds`, except that an answer is never
 * accepted against the closed form: where that would call the other class, the window is escalated.
 */
export class CalibratedPolicy extends StatelessPolicy {
  readonly name = 'calibrated'
  readonly #costs: ErrorCosts
  readonly #normal: string | undefined

  constructor({ costs, normal, model }: CalibratedOptions) {
    super(model)
    this.#costs = costs
    this.#normal = normal
  }

  protected judge(local: LocalResult, { price }: DecisionContext): Decision {
    const expectedCost = this.#expectedCost(local)
    const numbers = { score: local.confidence, expectedCost, price }
    return expectedCost > price
      ? { action: 'escalate', reason: 'cheaper-to-ask', numbers }
      : { action: 'accept', reason: 'cheaper-to-accept', numbers }
  }

  /** What accepting costs on average, over the classes it could really be. */
  #expectedCost({ label, confidence, probabilities, classes }: LocalResult): number {
    const { missedFault, falseAlarm, wrongFault } = this.#costs
    const other = Math.max(0, 1 - confidence)
    if (this.#normal === undefined) return wrongFault * other
    if (label === this.#normal) return missedFault * other
    const normal = probabilities[classes.indexOf(this.#normal)] ?? 0
    return falseAlarm * normal + wrongFault * Math.max(0, other - normal)
  }
}

const cost = z.number().positive().default(1)

export const createCalibrated = factory(
  'calibrated',
  z.strictObject({
    missedFault: cost,
    falseAlarm: cost,
    wrongFault: cost,
    normal: z.string().optional(),
  }),
  ({ normal = undefined, ...costs }, model) => {
    const alike = costs.missedFault === costs.wrongFault && costs.falseAlarm === costs.wrongFault
    const known = normal ?? model.normal
    return new CalibratedPolicy({
      costs,
      normal: alike ? known : required('calibrated', 'the normal class', known),
      model: model.digest,
    })
  },
)
