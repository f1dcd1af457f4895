/** Taps on each side of the low-pass filter, per unit of the factor. */
const HALF_LENGTH = 16

/**
 * Keeps every `factor`-th sample after a low-pass filter (Hamming-windowed sinc, half amplitude at 0.9 of the new Nyquist
 * frequency, no delay). The first and last samples are held beyond the ends.
 */
export function decimate(samples: Float32Array, factor: number): Float32Array {
  const half = HALF_LENGTH * factor
  const cutoff = 0.9 / factor
  const taps = Float64Array.from({ length: 2 * half + 1 }, (_, i) => {
    const x = (i - half) * Math.PI
    const sinc = x === 0 ? cutoff : Math.sin(cutoff * x) / x
    return sinc * (0.54 - 0.46 * Math.cos((Math.PI * i) / half))
  })
  const gain = taps.reduce((a, b) => a + b, 0)
  return Float32Array.from({ length: Math.ceil(samples.length / factor) }, (_, out) => {
    let sum = 0
    for (let i = 0; i < taps.length; i++) {
      const at = Math.min(Math.max(out * factor + i - half, 0), samples.length - 1)
      sum += taps[i]! * samples[at]!
    }
    return sum / gain
  })
}
