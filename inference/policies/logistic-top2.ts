import { z } from 'zod'
import { factory } from './factory.ts'
import { type LogisticCoefficients, logisticPresetNames, logisticPresets } from './logistic-presets.ts'
import type { Decision, DecisionContext, LocalResult } from './policy.ts'
import { StatelessPolicy } from './stateless.ts'
import { topTwo } from './top-two.ts'

export interface LogisticTop2Options {
  coefficients: LogisticCoefficients
  model?: string
}

/**
 * Logistic regression on the two largest probabilities: accepts when intercept + w1 p1 + w2 p2 >= 0, which is when the
 * regression gives the answer at least even odds of being right. The decision module of DIME (arXiv 2407.11061).
 */
export class LogisticTop2Policy extends StatelessPolicy {
  readonly name = 'logistic-top2'
  readonly #coefficients: LogisticCoefficients

  constructor({ coefficients, model }: LogisticTop2Options) {
    super(model)
    this.#coefficients = coefficients
  }

  protected judge({ confidence, probabilities }: LocalResult, { price }: DecisionContext): Decision {
    const { intercept, first, second } = this.#coefficients
    const [p1, p2] = topTwo(probabilities)
    const logit = intercept + first * p1 + second * p2
    const numbers = { score: confidence, second: p2, logit, price }
    return logit < 0
      ? { action: 'escalate', reason: 'likely-wrong', numbers }
      : { action: 'accept', reason: 'likely-right', numbers }
  }
}

const coefficients = z.strictObject({ intercept: z.number(), first: z.number(), second: z.number() })
const schema = z
  .strictObject({ preset: z.enum(logisticPresetNames).optional(), coefficients: coefficients.optional() })
  .refine(given => !(given.preset && given.coefficients), 'a preset or coefficients, not both')

export const createLogisticTop2 = factory('logistic-top2', schema, (given, { digest }) => {
  const chosen = given.coefficients ?? logisticPresets[given.preset ?? 'resnet8-cifar10']
  return new LogisticTop2Policy({ coefficients: chosen, model: digest })
})
