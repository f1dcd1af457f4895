import { z } from 'zod'
import { factory, required, share } from './factory.ts'
import type { Decision, DecisionContext, LocalResult } from './policy.ts'
import { StatelessPolicy } from './stateless.ts'

/** Entropy of a distribution as a share of the largest there is over as many classes, 0..1. 0 ln 0 counts as 0. */
export function normalisedEntropy(probabilities: readonly number[]): number {
  if (probabilities.length < 2) return 0
  let sum = 0
  for (const p of probabilities) if (p > 0) sum -= p * Math.log(p)
  return Math.max(0, sum / Math.log(probabilities.length))
}

export type EntropyOptions = { model?: string } & (
  | {
      /** Normalised entropy up to which an answer is accepted, 0..1. */
      entropy: number
    }
  | {
      /** In its place, a confidence: the entropy of two classes that share all probability, one having this much of it. */
      confidence: number
    }
)

/**
 * Accepts when the entropy of the class probabilities is small: the exit rule of BranchyNet (Teerapittayanon, McDanel,
 * Kung, arXiv 1709.01686, entropy(y) < T), with the entropy divided by ln K so that one limit means the same for any
 * number of classes K.
 */
export class EntropyPolicy extends StatelessPolicy {
  readonly name = 'entropy'
  readonly #options: EntropyOptions

  constructor(options: EntropyOptions) {
    super(options.model)
    this.#options = options
  }

  protected judge({ confidence, probabilities }: LocalResult, { price }: DecisionContext): Decision {
    const entropy = normalisedEntropy(probabilities)
    const limit = this.#limit(probabilities.length)
    const numbers = { score: confidence, entropy, limit, price }
    return entropy > limit
      ? { action: 'escalate', reason: 'high-entropy', numbers }
      : { action: 'accept', reason: 'low-entropy', numbers }
  }

  #limit(classes: number): number {
    if ('entropy' in this.#options) return this.#options.entropy
    const { confidence } = this.#options
    if (classes < 2) return 0
    return (normalisedEntropy([confidence, 1 - confidence]) * Math.LN2) / Math.log(classes)
  }
}

export const createEntropy = factory('entropy', z.strictObject({ entropy: share.optional() }), (given, model) => {
  const { threshold, digest } = model
  if (given.entropy !== undefined) return new EntropyPolicy({ entropy: given.entropy, model: digest })
  return new EntropyPolicy({ confidence: required('entropy', 'an entropy', threshold), model: digest })
})
