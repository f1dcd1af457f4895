import { z } from 'zod'
import { factory, required, share } from './factory.ts'
import type { Decision, DecisionContext, LocalResult } from './policy.ts'
import { StatelessPolicy } from './stateless.ts'

export interface RelevanceOptions {
  /** The class that means nothing is wrong. */
  normal: string
  /** Confidence that "normal" needs to be accepted. */
  confidence: number
  /** Whether it is the closed form's where a price list says what a missed fault costs. */
  priced: boolean
  model?: string
}

/**
 * Accepts only what is confidently normal and escalates everything else: the device filters, the server names the fault.
 * After the bearing case of arXiv 2304.11763, where a threshold on the vibration level is the local model.
 */
export class RelevancePolicy extends StatelessPolicy {
  readonly name = 'relevance'
  readonly #normal: string
  readonly #confidence: number
  readonly #priced: boolean

  constructor({ normal, confidence, priced, model }: RelevanceOptions) {
    super(model)
    this.#normal = normal
    this.#confidence = confidence
    this.#priced = priced
  }

  protected judge({ label, confidence }: LocalResult, { price, costs }: DecisionContext): Decision {
    // Normal is worth accepting while (1 - confidence) dFN <= b: the lower of the two thresholds of arXiv 2509.15674.
    const threshold = costs && this.#priced ? Math.max(0, 1 - price / costs.missedFault) : this.#confidence
    const numbers = { score: confidence, threshold, price }
    if (label !== this.#normal) return { action: 'escalate', reason: 'not-normal', numbers }
    return confidence < threshold
      ? { action: 'escalate', reason: 'below-threshold', numbers }
      : { action: 'accept', reason: 'normal', numbers }
  }
}

/** Used where neither settings nor bundle say how sure "normal" has to be. */
const EVEN_ODDS = 0.5

const schema = z.strictObject({ normal: z.string().optional(), confidence: share.optional() })

export const createRelevance = factory(
  'relevance',
  schema,
  (given, { normal, threshold, digest }) =>
    new RelevancePolicy({
      normal: required('relevance', 'the normal class', given.normal ?? normal),
      confidence: given.confidence ?? threshold ?? EVEN_ODDS,
      priced: given.confidence === undefined,
      model: digest,
    }),
)
