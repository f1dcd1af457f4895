import { z } from 'zod'
import { ServerTrust, type ServerTrustModel } from '../calibration/server-trust.ts'
import { factory, required } from './factory.ts'
import type { Decision, DecisionContext, ErrorCosts, LocalResult } from './policy.ts'
import { StatelessPolicy } from './stateless.ts'

export interface CalibratedOptions {
  /** Those that are given stand; the others come from the price list, and are 1 without one. */
  costs: Partial<ErrorCosts>
  /** The class that means nothing is wrong. Not needed where all errors cost 1. */
  normal?: string
  /** As the bundle carries it; without it the server is taken to be always right. */
  server?: ServerTrustModel
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

const alike: ErrorCosts = { missedFault: 1, falseAlarm: 1, wrongFault: 1 }

/**
 * Accepts when the answer costs no more than asking, if the probabilities are true: with all errors costing 1, when
 * 1 - p1 <= price. With two classes and costs of their own this is `twoThresholds`, except that an answer is never
 * accepted against the closed form: where that would call the other class, the window is escalated.
 *
 * Where the bundle says how far the server is to be believed, asking saves the share `gain` of wrong answers in place of all of them, and its
 * mistakes are taken to cost what the device's own would.
 */
export class CalibratedPolicy extends StatelessPolicy {
  readonly name = 'calibrated'
  readonly #costs: Partial<ErrorCosts>
  readonly #normal: string | undefined
  readonly #trust: ServerTrust | undefined

  constructor({ costs, normal, server, model }: CalibratedOptions) {
    super(model)
    this.#trust = server && new ServerTrust(server)
    this.#costs = costs
    this.#normal = normal
  }

  protected judge(local: LocalResult, { price, costs }: DecisionContext): Decision {
    const expectedCost = this.#expectedCost(local, { ...alike, ...costs, ...this.#costs })
    const saved = this.#saved(local, expectedCost)
    const numbers = { score: local.confidence, expectedCost, price, ...(this.#trust && { saved }) }
    return saved > price
      ? { action: 'escalate', reason: 'cheaper-to-ask', numbers }
      : { action: 'accept', reason: 'cheaper-to-accept', numbers }
  }

  /** What asking saves of that on average. */
  #saved({ confidence, probabilities }: LocalResult, expectedCost: number): number {
    if (!this.#trust) return expectedCost
    const wrong = 1 - confidence
    return wrong > 0 ? (expectedCost / wrong) * this.#trust.gain(probabilities) : 0
  }

  /** What accepting costs on average, over the classes it could really be. */
  #expectedCost({ label, confidence, probabilities, classes }: LocalResult, costs: ErrorCosts): number {
    const { missedFault, falseAlarm, wrongFault } = costs
    const other = Math.max(0, 1 - confidence)
    // Nobody can tell which mistake it would be, so it is taken for the dearest.
    if (this.#normal === undefined) return Math.max(missedFault, falseAlarm, wrongFault) * other
    if (label === this.#normal) return missedFault * other
    const normal = probabilities[classes.indexOf(this.#normal)] ?? 0
    return falseAlarm * normal + wrongFault * Math.max(0, other - normal)
  }
}

const cost = z.number().positive().optional()

export const createCalibrated = factory(
  'calibrated',
  z.strictObject({
    missedFault: cost,
    falseAlarm: cost,
    wrongFault: cost,
    normal: z.string().optional(),
  }),
  ({ normal, missedFault, falseAlarm, wrongFault }, model) => {
    const given = {
      ...(missedFault !== undefined && { missedFault }),
      ...(falseAlarm !== undefined && { falseAlarm }),
      ...(wrongFault !== undefined && { wrongFault }),
    }
    const differ = new Set(Object.values({ ...alike, ...given })).size > 1
    const known = normal ?? model.normal
    return new CalibratedPolicy({
      costs: given,
      normal: differ ? required('calibrated', 'the normal class', known) : known,
      server: model.server,
      model: model.digest,
    })
  },
)
