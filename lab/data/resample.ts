/** Taps on each side of the low-pass filter, per input sample that makes one output sample. */
const HALF_LENGTH = 16

/**
 * Samples at `up / down` times their rate, through a low-pass filter (Hamming-windowed sinc, half amplitude at 0.9 of the
 * lower Nyquist frequency, no delay). The first and last samples are held beyond the ends.
 */
export function resample(samples: Float32Array, up: number, down: number): Float32Array {
  const step = down / up
  const wide = Math.max(step, 1)
  const half = Math.ceil(HALF_LENGTH * wide)
  // Output samples fall on `up` different places between input samples, each with taps of its own.
  const phases = Array.from({ length: up }, (_, phase) => tapsAt(((phase * down) % up) / up, half, 0.9 / wide))
  return Float32Array.from({ length: Math.ceil(samples.length / step) }, (_, out) => {
    const taps = phases[out % up]!
    const first = Math.floor((out * down) / up) - half
    let sum = 0
    for (let i = 0; i < taps.length; i++) {
      const at = Math.min(Math.max(first + i, 0), samples.length - 1)
      sum += taps[i]! * samples[at]!
    }
    return sum
  })
}

/** Taps, summing to 1, for a place `offset` samples behind the middle one. */
function tapsAt(offset: number, half: number, cutoff: number): Float64Array {
  const taps = Float64Array.from({ length: 2 * half + 1 }, (_, i) => {
    const away = i - half - offset
    const x = away * Math.PI
    const sinc = x === 0 ? cutoff : Math.sin(cutoff * x) / x
    return Math.abs(away) > half ? 0 : sinc * (0.54 + 0.46 * Math.cos((Math.PI * away) / half))
  })
  const gain = taps.reduce((a, b) => a + b, 0)
  return taps.map(tap => tap / gain)
}
