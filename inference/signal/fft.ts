import FFT from 'fft.js'

const plans = new Map<number, FFT>()

/** The transform of a power-of-two size. Its tables are costly and depend on the size alone, so they are kept. */
export function planOf(size: number): FFT {
  let plan = plans.get(size)
  if (!plan) {
    plan = new FFT(size)
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
