import { z } from 'zod'
import { factory, required, share } from './factory.ts'
import type { Decision, DecisionContext, LocalResult } from './policy.ts'
import { StatelessPolicy } from './stateless.ts'
import { topTwo } from './top-two.ts'

export interface MarginOptions {
  /** Margin at and above which an answer is accepted, 0..1. */
  margin: number
  model?: string
}

/**
 * Accepts when the most probable class leads the second by a margin, p1 - p2. The score margin of big/LITTLE networks
 * (Park et al., CODES+ISSS 2015, doi 10.1109/CODESISSS.2015.7331375).
 */
export class MarginPolicy extends StatelessPolicy {
  readonly name = 'margin'
  readonly #margin: number

  constructor({ margin, model }: MarginOptions) {
    super(model)
    this.#margin = margin
  }

  protected judge({ confidence, probabilities }: LocalResult, { price }: DecisionContext): Decision {
    const [first, second] = topTwo(probabilities)
    const margin = first - second
    const numbers = { score: confidence, margin, threshold: this.#margin, price }
    return margin < this.#margin
      ? { action: 'escalate', reason: 'narrow-margin', numbers }
      : { action: 'accept', reason: 'wide-margin', numbers }
  }
}

/** The lead that a confidence of `threshold` means between two classes. */
const marginAt = (threshold: number) => Math.max(0, 2 * threshold - 1)

export const createMargin = factory('margin', z.strictObject({ margin: share.optional() }), (given, model) => {
  const { threshold, digest } = model
  const calibrated = threshold === undefined ? undefined : marginAt(threshold)
  return new MarginPolicy({ margin: required('margin', 'a margin', given.margin ?? calibrated), model: digest })
})
