/** A channel that has a pulse or several for every revolution of the shaft. */
export interface Tacho {
  pulsesPerRevolution: number
}

/**
 * Shaft speed in Hz from the rising edges of a tacho signal; undefined where there are fewer than two. An edge is where
 * the signal passes three quarters of its range after it was below one quarter: noise on a slope is no second edge.
 */
export function shaftHzOf(signal: Float32Array, rateHz: number, { pulsesPerRevolution }: Tacho): number | undefined {
  let min = Number.POSITIVE_INFINITY
  let max = Number.NEGATIVE_INFINITY
  for (const value of signal) {
    if (value < min) min = value
    if (value > max) max = value
  }
  const low = min + (max - min) / 4
  const high = max - (max - min) / 4
  let armed = false
  const edges: number[] = []
  for (let i = 0; i < signal.length; i++) {
    const value = signal[i]!
    if (value <= low) armed = true
    else if (armed && value >= high) {
      armed = false
      edges.push(i)
    }
  }
  if (edges.length < 2) return undefined
  const revolutions = (edges.length - 1) / pulsesPerRevolution
  return (revolutions * rateHz) / (edges.at(-1)! - edges[0]!)
}
