/** Statistics of one window in the time domain, in the unit of its samples where they have one. */
export interface TimeFeatures {
  /** Root of the mean square. */
  rms: number
  /** Mean of the absolute value. */
  meanAbs: number
  /** Largest absolute value. */
  peak: number
  /** Peak over RMS; sqrt(2) for a sine. */
  crestFactor: number
  /** Fourth moment over the squared second (Pearson): 3 for a normal distribution, 1.5 for a sine. */
  kurtosis: number
  /** Third moment over the second to the power 3/2. */
  skewness: number
}

/**
 * The window's mean is taken off first, for every figure: an offset is the sensor's (bias, gravity), not the machine's.
 * A constant window has no shape: crest factor, kurtosis and skewness are 0.
 */
export function timeFeatures(samples: Float32Array): TimeFeatures {
  const n = samples.length
  const mean = meanOf(samples)
  let absolute = 0
  let peak = 0
  let square = 0
  let cube = 0
  let fourth = 0
  for (let i = 0; i < n; i++) {
    const x = samples[i]! - mean
    const magnitude = Math.abs(x)
    const xx = x * x
    absolute += magnitude
    if (magnitude > peak) peak = magnitude
    square += xx
    cube += xx * x
    fourth += xx * xx
  }
  const variance = square / n
  const rms = Math.sqrt(variance)
  const flat = variance <= FLAT * mean * mean || variance === 0
  return {
    rms,
    meanAbs: absolute / n,
    peak,
    crestFactor: flat ? 0 : peak / rms,
    kurtosis: flat ? 0 : fourth / n / (variance * variance),
    skewness: flat ? 0 : cube / n / (variance * rms),
  }
}

/** Below this share of the squared mean, the variance is the rounding of 32-bit samples. */
const FLAT = 1e-13

/** Arithmetic mean, summed in double precision. */
export function meanOf(samples: Float32Array | Float64Array): number {
  let sum = 0
  for (let i = 0; i < samples.length; i++) sum += samples[i]!
  return sum / samples.length
}
