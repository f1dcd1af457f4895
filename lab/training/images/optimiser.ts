import * as tf from '@tensorflow/tfjs'

/** As arXiv 2404.00498 sets them for the sum of a batch's losses; offsets learn 64 times as fast. */
const MOMENTUM = 0.85
const KILOSTEP = 1024 * (1 + 1 / (1 - MOMENTUM))
const DECAY_PER_EXAMPLE = 0.0153 / KILOSTEP
const OFFSET_FACTOR = 64
/** Share of the steps on which the rate rises; where it begins and ends, relative to its peak. */
const RISE = 0.2
const [FIRST, LAST] = [0.2, 0.07]
/** Steps between two averagings, and how slowly the average moves at the end. */
const LOOKAHEAD_STEPS = 5
const SLOWEST_AVERAGE = 0.95 ** LOOKAHEAD_STEPS

export interface OptimiserOptions {
  kernels: tf.Variable[]
  offsets: tf.Variable[]
  /** Everything that is averaged: the learned variables and the running statistics. */
  averaged: tf.Variable[]
  steps: number
  batch: number
  /** Peak learning rate per kilostep; 11.5 in the paper. */
  rate: number
}

/**
 * Stochastic gradient descent with Nesterov momentum and decoupled weight decay, its rate rising and then falling along
 * two lines, with lookahead: every few steps the network goes back to a slow average of itself (Zhang et al., arXiv
 * 1907.08610).
 */
export class Optimiser {
  readonly #options: OptimiserOptions
  readonly #groups: { variable: tf.Variable; velocity: tf.Variable; rate: number; decay: number }[]
  readonly #averages: tf.Variable[]

  constructor(options: OptimiserOptions) {
    const { kernels, offsets, averaged, batch, rate } = options
    this.#options = options
    const decay = DECAY_PER_EXAMPLE * batch
    const kernelRate = rate / KILOSTEP
    const group = (variable: tf.Variable, rate: number) => ({
      variable,
      velocity: tf.variable(tf.zerosLike(variable), false),
      rate,
      decay: decay / rate,
    })
    this.#groups = [
      ...kernels.map(variable => group(variable, kernelRate)),
      ...offsets.map(variable => group(variable, kernelRate * OFFSET_FACTOR)),
    ]
    this.#averages = averaged.map(variable => tf.variable(variable.clone(), false))
  }

  /** What has to be kept beside the network to go on later. */
  get variables(): tf.Variable[] {
    return [...this.#groups.map(({ velocity }) => velocity), ...this.#averages]
  }

  /** Applies the gradients of step `step`, from 0, by variable name. */
  step(step: number, gradients: tf.NamedTensorMap): void {
    const { steps } = this.#options
    tf.tidy(() => {
      const share = rateAt(step / steps)
      for (const { variable, velocity, rate, decay } of this.#groups) {
        const gradient = tf.add(gradients[variable.name]!, tf.mul(variable, decay))
        velocity.assign(tf.add(tf.mul(velocity, MOMENTUM), gradient))
        variable.assign(tf.sub(variable, tf.mul(tf.add(gradient, tf.mul(velocity, MOMENTUM)), rate * share)))
      }
    })
    if ((step + 1) % LOOKAHEAD_STEPS === 0) this.#lookAhead(SLOWEST_AVERAGE * ((step + 1) / steps) ** 3)
  }

  /** Ends with the slow average. */
  finish(): void {
    for (const [i, average] of this.#averages.entries()) this.#options.averaged[i]!.assign(average.clone())
  }

  dispose(): void {
    tf.dispose(this.variables)
  }

  #lookAhead(keep: number): void {
    tf.tidy(() => {
      for (const [i, average] of this.#averages.entries()) {
        const variable = this.#options.averaged[i]!
        average.assign(tf.add(tf.mul(average, keep), tf.mul(variable, 1 - keep)))
        variable.assign(average.clone())
      }
    })
  }
}

function rateAt(progress: number): number {
  if (progress < RISE) return FIRST + (1 - FIRST) * (progress / RISE)
  return 1 + (LAST - 1) * ((progress - RISE) / (1 - RISE))
}
