import type { Prior } from './features.ts'
import { cholesky, inverse, solve } from './matrix.ts'

/** Weights of a logistic regression as far as they are known: the most probable ones, and the covariance around them. */
export interface Posterior {
  mean: Float64Array
  /** Row by row. */
  covariance: Float64Array
}

const MOST_STEPS = 100
const MOST_HALVINGS = 40
/** A step is the last when it promises less than this, in nats over all samples. */
const ENOUGH = 1e-10

/** 1 / (1 + exp(-x)). */
export function sigmoid(x: number): number {
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x))
}

/** ln(1 + exp(x)), without overflow. */
export function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))
}

/**
 * Logistic regression with a Gaussian prior: the most probable weights by Newton's method with backtracking (Boyd and
 * Vandenberghe 2004, section 9.5; the loss is convex, so there is one minimum and it is found from anywhere), and the
 * inverse of the loss's curvature there as covariance (Laplace; MacKay 1992).
 * @param rows One row of features per sample.
 * @param outcomes 1 or true for right, 0 or false for wrong; a share between them counts as that much of each.
 */
export function fitLogistic(
  rows: readonly (readonly number[])[],
  outcomes: readonly (number | boolean)[],
  prior: Prior,
): Posterior {
  const right = outcomes.map(Number)
  const size = prior.mean.length
  let mean = Float64Array.from(prior.mean)
  let value = lossAt(mean, rows, right, prior)
  for (let step = 0; ; step++) {
    const { gradient, curvature } = slopeAt(mean, rows, right, prior)
    // The prior alone makes the curvature positive definite.
    const factor = cholesky(curvature, size)!
    const direction = solve(factor, gradient)
    const decrement = gradient.reduce((sum, slope, i) => sum + slope * direction[i]!, 0)
    if (decrement / 2 < ENOUGH || step === MOST_STEPS) return { mean, covariance: inverse(factor, size) }
    let length = 1
    for (let halving = 0; halving < MOST_HALVINGS; halving++) {
      const next = mean.map((weight, i) => weight - length * direction[i]!)
      const loss = lossAt(next, rows, right, prior)
      if (loss <= value - 0.1 * length * decrement) {
        mean = next
        value = loss
        break
      }
      length /= 2
    }
    // No step is small enough to gain anything: rounding hides what is left.
    if (length <= 2 ** -MOST_HALVINGS) return { mean, covariance: inverse(factor, size) }
  }
}

/** w · x. */
export function dot(weights: ArrayLike<number>, row: readonly number[]): number {
  let sum = 0
  for (let i = 0; i < row.length; i++) sum += weights[i]! * row[i]!
  return sum
}

/** Negative logarithm of likelihood times prior, up to a constant. */
function lossAt(
  weights: Float64Array,
  rows: readonly (readonly number[])[],
  right: readonly number[],
  { mean, deviation }: Prior,
): number {
  let sum = 0
  for (let i = 0; i < weights.length; i++) sum += ((weights[i]! - mean[i]!) / deviation[i]!) ** 2 / 2
  for (let i = 0; i < rows.length; i++) {
    const logit = dot(weights, rows[i]!)
    sum += right[i]! * softplus(-logit) + (1 - right[i]!) * softplus(logit)
  }
  return sum
}

function slopeAt(
  weights: Float64Array,
  rows: readonly (readonly number[])[],
  right: readonly number[],
  { mean, deviation }: Prior,
): { gradient: Float64Array; curvature: Float64Array } {
  const size = weights.length
  const gradient = weights.map((weight, i) => (weight - mean[i]!) / deviation[i]! ** 2)
  const curvature = new Float64Array(size * size)
  for (let i = 0; i < size; i++) curvature[i * size + i] = deviation[i]! ** -2
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!
    const p = sigmoid(dot(weights, row))
    const error = p - right[i]!
    const spread = p * (1 - p)
    for (let j = 0; j < size; j++) {
      const x = row[j]!
      if (x === 0) continue
      gradient[j]! += error * x
      for (let k = 0; k <= j; k++) curvature[j * size + k]! += spread * x * row[k]!
    }
  }
  for (let j = 0; j < size; j++) for (let k = 0; k < j; k++) curvature[k * size + j] = curvature[j * size + k]!
  return { gradient, curvature }
}
