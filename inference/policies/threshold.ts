import { z } from 'zod'
import { factory, required, share } from './factory.ts'
import type { Decision, DecisionContext, LocalResult } from './policy.ts'
import { StatelessPolicy } from './stateless.ts'

export interface ThresholdOptions {
  /** Confidence at and above which an answer is accepted. */
  threshold: number
  model?: string
}

/** Escalates when the largest probability is below a fixed threshold; the rule hierarchical inference began with (arXiv 2304.11763). */
export class ThresholdPolicy extends StatelessPolicy {
  readonly name = 'threshold'
  readonly #threshold: number

  constructor({ threshold, model }: ThresholdOptions) {
    super(model)
    this.#threshold = threshold
  }

  protected judge({ confidence }: LocalResult, { price }: DecisionContext): Decision {
    const numbers = { score: confidence, threshold: this.#threshold, price }
    return confidence < this.#threshold
      ? { action: 'escalate', reason: 'below-threshold', numbers }
      : { action: 'accept', reason: 'confident', numbers }
  }
}

export const createThreshold = factory(
  'threshold',
  z.strictObject({ threshold: share.optional() }),
  (given, { threshold, digest }) =>
    new ThresholdPolicy({
      threshold: required('threshold', 'a threshold', given.threshold ?? threshold),
      model: digest,
    }),
)
