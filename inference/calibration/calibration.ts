import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import { isValid } from '../classification.ts'
import { Bins } from '../policies/bins.ts'
import { Belief, beliefState, type Estimate } from './belief.ts'
import { featuresOf, offsetsFor, priorOf, shapeNames } from './features.ts'
import { dot, fitLogistic, sigmoid } from './logistic.ts'

/** A labelled answer of the local model. */
export interface LabelledAnswer {
  probabilities: readonly number[]
  /** Whether its most probable class is the true one. */
  right: boolean
}

const share = z.number().min(0).max(1)

/** A fitted calibration as a bundle carries it. */
export const calibrationModel = z
  .strictObject({
    kind: z.literal('logistic'),
    /** Version of the features the weights belong to. */
    features: z.literal(1),
    /** Classes of the model whose answers these are. */
    classes: z.int().min(2),
    /** Labelled answers it was fitted on. */
    samples: z.int().nonnegative(),
    belief: beliefState,
    /** Scores, sigma(mean weights · features), between bins of about as many answers each; rising. */
    edges: z.array(share).max(1_024),
  })
  .refine(
    ({ classes, belief }) => belief.mean.length === shapeNames.length + offsetsFor(classes),
    'the weights do not fit the number of classes',
  )

export type CalibrationModel = z.infer<typeof calibrationModel>

export interface FitOptions {
  /** Classes of the model. */
  classes: number
  /** Bins that `edges` is to part. */
  bins?: number
}

/**
 * Maps a local model's answer to the probability that it is right: a logistic regression with a Gaussian prior on the
 * features of `features.ts`. Few labels move it a little, many as far as they have to.
 */
export class Calibration {
  readonly model: CalibrationModel
  readonly #belief: Belief
  readonly #offsets: number

  /** @param model As `calibrationModel` checked it. */
  constructor(model: CalibrationModel) {
    this.model = model
    this.#belief = Belief.of(model.belief)
    this.#offsets = offsetsFor(model.classes)
  }

  /**
   * Fits labelled answers; none at all give the prior. The order of the answers does not matter.
   * Throws `MODEL_MISMATCH` for an answer that is none.
   */
  static fit(answers: readonly LabelledAnswer[], { classes, bins = 16 }: FitOptions): Calibration {
    const offsets = offsetsFor(classes)
    const bad = answers.findIndex(({ probabilities }) => !isValid(probabilities, classes))
    if (bad >= 0)
      throw new FaultlineError('MODEL_MISMATCH', `answer ${bad + 1} is not ${classes} probabilities that sum to one`)
    const rows = answers.map(({ probabilities }) => featuresOf(probabilities, offsets))
    const posterior = fitLogistic(
      rows,
      answers.map(({ right }) => right),
      priorOf(offsets),
    )
    const scores = rows.map(row => sigmoid(dot(posterior.mean, row)))
    const { edges } = Bins.quantiles(scores, bins, () => 1)
    return new Calibration({
      kind: 'logistic',
      features: 1,
      classes,
      samples: answers.length,
      belief: new Belief(posterior).state,
      edges: [...edges],
    })
  }

  /** Shapes: one probability per class. The answer has to be valid. */
  predict(probabilities: readonly number[]): Estimate {
    return this.#belief.estimate(featuresOf(probabilities, this.#offsets))
  }
}
