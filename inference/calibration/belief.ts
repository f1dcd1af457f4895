import { z } from 'zod'
import type { Prior } from './features.ts'
import { dot, type Posterior, sigmoid } from './logistic.ts'
import { cholesky, inverse } from './matrix.ts'

/** How sure one answer is, as far as the weights are known. */
export interface Estimate {
  /** P(the answer is right), over all weights that are still possible. */
  right: number
  /** Logit of the most probable weights, and its variance. */
  logit: number
  variance: number
}

/** What one outcome adds to the natural parameters of the weights, along its row: to precision, and to precision times mean. */
export interface Site {
  curvature: number
  shift: number
}

/** Weights and the lower triangle of their covariance, row by row. */
export const beliefState = z
  .strictObject({ mean: z.array(z.number()).min(1).max(256), covariance: z.array(z.number()) })
  .refine(({ mean, covariance }) => covariance.length === (mean.length * (mean.length + 1)) / 2, 'sizes do not fit')
  .refine(
    ({ mean, covariance }) => mean.every((_, i) => covariance[triangle(i, i)]! >= 0),
    'a variance cannot be negative',
  )

export type BeliefState = z.infer<typeof beliefState>

/**
 * A logistic regression that learns from one outcome at a time, in O(size²): a Gaussian over the weights, updated by
 * the most probable logit of the new outcome and the curvature there (the Laplace approximation of Spiegelhalter and
 * Lauritzen 1990, exact along the direction of the row).
 */
export class Belief {
  readonly #mean: Float64Array
  readonly #covariance: Float64Array

  constructor({ mean, covariance }: Posterior) {
    this.#mean = Float64Array.from(mean)
    this.#covariance = Float64Array.from(covariance)
  }

  static ofPrior(prior: Prior): Belief {
    const belief = new Belief({
      mean: Float64Array.from(prior.mean),
      covariance: new Float64Array(prior.mean.length ** 2),
    })
    belief.widen(prior)
    return belief
  }

  static of({ mean, covariance }: BeliefState): Belief {
    const full = new Float64Array(mean.length ** 2)
    for (let i = 0; i < mean.length; i++)
      for (let j = 0; j < mean.length; j++)
        full[i * mean.length + j] = covariance[triangle(Math.max(i, j), Math.min(i, j))]!
    return new Belief({ mean: Float64Array.from(mean), covariance: full })
  }

  get size(): number {
    return this.#mean.length
  }

  get state(): BeliefState {
    const covariance: number[] = []
    for (let i = 0; i < this.size; i++)
      for (let j = 0; j <= i; j++) covariance.push(this.#covariance[i * this.size + j]!)
    return { mean: [...this.#mean], covariance }
  }

  estimate(row: readonly number[]): Estimate {
    const logit = dot(this.#mean, row)
    const variance = Math.max(0, dot(this.#spread(row), row))
    // The mean of a sigmoid over a Gaussian logit (MacKay 1992, "The evidence framework applied to classification").
    return { right: sigmoid(logit / Math.sqrt(1 + (Math.PI * variance) / 8)), logit, variance }
  }

  learn(row: readonly number[], right: boolean): Site {
    const { size } = this
    const spread = this.#spread(row)
    const variance = dot(spread, row)
    if (!(variance > 0)) return { curvature: 0, shift: 0 }
    const logit = mostProbableLogit(dot(this.#mean, row), variance, right)
    const p = sigmoid(logit)
    const pull = (right ? 1 : 0) - p
    const curvature = p * (1 - p)
    const shrink = curvature / (1 + curvature * variance)
    for (let i = 0; i < size; i++) {
      this.#mean[i]! += spread[i]! * pull
      for (let j = 0; j <= i; j++) {
        const value = this.#covariance[i * size + j]! - shrink * spread[i]! * spread[j]!
        this.#covariance[i * size + j] = value
        this.#covariance[j * size + i] = value
      }
    }
    return { curvature, shift: curvature * logit + pull }
  }

  /**
   * Multiplies in what other outcomes say of the weights: a precision (lower triangle, row by row) and a precision times
   * mean. False, and nothing has changed, where no outcomes can have said that.
   */
  absorb(precision: readonly number[], shift: readonly number[]): boolean {
    const { size } = this
    const factor = cholesky(this.#covariance, size)
    if (!factor) return false
    const total = inverse(factor, size)
    const natural = Float64Array.from({ length: size }, (_, i) => {
      let sum = shift[i]!
      for (let j = 0; j < size; j++) sum += total[i * size + j]! * this.#mean[j]!
      return sum
    })
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++) total[i * size + j]! += precision[triangle(Math.max(i, j), Math.min(i, j))]!
    const updated = cholesky(total, size)
    if (!updated) return false
    const covariance = inverse(updated, size)
    // Rounding parts the halves, and only one of them is kept in a state.
    for (let i = 0; i < size; i++) for (let j = 0; j < i; j++) covariance[j * size + i] = covariance[i * size + j]!
    const mean = natural.map((_, i) => natural.reduce((sum, value, j) => sum + covariance[i * size + j]! * value, 0))
    if (!covariance.every(Number.isFinite) || !mean.every(Number.isFinite)) return false
    this.#covariance.set(covariance)
    this.#mean.set(mean)
    return true
  }

  /** Keeps the weights and forgets why: their covariance is the prior's again, so new outcomes count as much as they did at first. */
  widen({ deviation }: Prior): void {
    this.#covariance.fill(0)
    for (let i = 0; i < this.size; i++) this.#covariance[i * this.size + i] = deviation[i]! ** 2
  }

  /** Covariance times row. */
  #spread(row: readonly number[]): Float64Array {
    const { size } = this
    const product = new Float64Array(size)
    for (let j = 0; j < size; j++) {
      const x = row[j]!
      if (x === 0) continue
      for (let i = 0; i < size; i++) product[i]! += this.#covariance[j * size + i]! * x
    }
    return product
  }
}

/** Place of row i, column j <= i in a lower triangle. */
function triangle(i: number, j: number): number {
  return (i * (i + 1)) / 2 + j
}

/** The logit z = before + variance (outcome - sigma(z)): prior and outcome balance there. By bisection: it cannot fail. */
function mostProbableLogit(before: number, variance: number, right: boolean): number {
  const outcome = right ? 1 : 0
  let low = right ? before : before - variance
  let high = right ? before + variance : before
  for (let i = 0; i < 60 && high - low > 1e-10; i++) {
    const middle = (low + high) / 2
    if (middle - before - variance * (outcome - sigmoid(middle)) > 0) high = middle
    else low = middle
  }
  return (low + high) / 2
}
