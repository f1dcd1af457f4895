import FFT from 'fft.js'

/** A transform of one size, with memory to work in. */
export interface TransformPlan {
  fft: FFT
  /** `size` values. */
  real: Float64Array
  /** `size` complex values each. */
  complex: Float64Array
  inverse: Float64Array
}

const plans = new Map<number, TransformPlan>()

/**
 * The transform of a power-of-two size. Its tables and its memory are costly and depend on the size alone, so they are kept:
 * whoever takes a plan is done with its memory before anybody else has a turn, and finds in it what the one before left.
 */
export function planOf(size: number): TransformPlan {
  let plan = plans.get(size)
  if (!plan) {
    plan = {
      fft: new FFT(size),
      real: new Float64Array(size),
      complex: new Float64Array(2 * size),
      inverse: new Float64Array(2 * size),
    }
    plans.set(size, plan)
  }
  return plan
}

/** The transform size for `length` samples: the next power of two, at least 4. */
export function transformSize(length: number): number {
  let size = 4
  while (size < length) size *= 2
  return size
}

/** Of a complex number. Not Math.hypot, which guards against overflow at twenty times the cost: samples are no such numbers. */
export function magnitude(real: number, imaginary: number): number {
  return Math.sqrt(real * real + imaginary * imaginary)
}
