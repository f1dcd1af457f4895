import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import { isValid } from '../classification.ts'
import { Belief, beliefState } from './belief.ts'
import { Calibration, calibrationModel } from './calibration.ts'
import { featuresOf, offsetsFor, type Prior, priorOf, shapeNames } from './features.ts'
import { fitLogistic } from './logistic.ts'

/** A labelled window that both models have answered; classes by their numbers. */
export interface PairedAnswer {
  /** Of the local model. */
  probabilities: readonly number[]
  remote: number
  truth: number
}

/** What a local model's bundle carries of the server it was fitted beside. */
export const serverTrustModel = z
  .strictObject({
    /** Digest of the server model whose answers these were. */
    model: z.string().optional(),
    /** P(the server names the local model's class). */
    agreement: calibrationModel,
    /** Windows with two answers. */
    contradictions: z.int().positive(),
    /** Of them: logit of P(the server is right), a half where neither is, on the features of `agreement`. */
    belief: beliefState,
  })
  .refine(({ agreement, belief }) => belief.mean.length === agreement.belief.mean.length, 'the weights do not fit')

export type ServerTrustModel = z.infer<typeof serverTrustModel>

/** Fewer contradictions than this say more about chance than about the server. */
export const FEWEST_CONTRADICTIONS = 50

/** Deviation of the intercept: a server that is never right, and one that always is, are both possible. */
const OPEN_MINDED = 2

/**
 * How far a server that is not always right is to be believed against the device, given what the device says.
 *
 * With A = P(they agree), escalating changes nothing but contradicted answers, so
 * P(server right) - P(device right) = (1 - A) trust, trust = P(server right | they differ) - P(device right | they differ).
 * A is what verdicts keep teaching, since agreement can be seen; trust takes labels and stays as it was fitted. A server
 * that is taken for the truth has trust 1, and A is P(device right).
 */
export class ServerTrust {
  readonly model: ServerTrustModel
  readonly #agreement: Calibration
  readonly #belief: Belief
  readonly #offsets: number

  /** @param model As `serverTrustModel` checked it. */
  constructor(model: ServerTrustModel) {
    this.model = model
    this.#agreement = new Calibration(model.agreement)
    this.#belief = Belief.of(model.belief)
    this.#offsets = offsetsFor(model.agreement.classes)
  }

  /**
   * Fits labelled answers of a pair; undefined with fewer than `FEWEST_CONTRADICTIONS` contradictions.
   * Throws `MODEL_MISMATCH` for an answer that is none.
   */
  static fit(
    answers: readonly PairedAnswer[],
    { classes, model }: { classes: number; model?: string },
  ): ServerTrust | undefined {
    const bad = answers.findIndex(({ probabilities }) => !isValid(probabilities, classes))
    if (bad >= 0)
      throw new FaultlineError('MODEL_MISMATCH', `answer ${bad + 1} is not ${classes} probabilities that sum to one`)
    const named = answers.map(answer => ({ ...answer, local: winnerOf(answer.probabilities) }))
    const contradicted = named.filter(({ local, remote }) => local !== remote)
    if (contradicted.length < FEWEST_CONTRADICTIONS) return undefined
    const offsets = offsetsFor(classes)
    const posterior = fitLogistic(
      contradicted.map(({ probabilities }) => featuresOf(probabilities, offsets)),
      contradicted.map(({ local, remote, truth }) => (remote === truth ? 1 : local === truth ? 0 : 0.5)),
      undecided(offsets),
    )
    return new ServerTrust({
      ...(model !== undefined && { model }),
      agreement: Calibration.fit(
        named.map(({ probabilities, local, remote }) => ({ probabilities, right: local === remote })),
        { classes },
      ).model,
      contradictions: contradicted.length,
      belief: new Belief(posterior).state,
    })
  }

  /** -1 (only the device is ever right where they differ) to 1 (only the server is). The answer has to be valid. */
  trust(probabilities: readonly number[]): number {
    return 2 * this.#belief.estimate(featuresOf(probabilities, this.#offsets)).right - 1
  }

  /** P(server right) - P(device right): wrong answers that escalating this one saves. */
  gain(probabilities: readonly number[]): number {
    return (1 - this.#agreement.predict(probabilities).right) * this.trust(probabilities)
  }
}

/** Without labels, neither side of a contradiction is believed more. */
function undecided(offsets: number): Prior {
  const { deviation } = priorOf(offsets)
  return {
    mean: new Array<number>(shapeNames.length + offsets).fill(0),
    deviation: [OPEN_MINDED, ...deviation.slice(1)],
  }
}

function winnerOf(probabilities: readonly number[]): number {
  return probabilities.indexOf(Math.max(...probabilities))
}
