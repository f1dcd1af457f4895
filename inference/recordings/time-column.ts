/** What the times of samples say. */
export interface Timing {
  rateHz: number
  /** Samples before which others are missing. */
  gaps: number[]
}

/**
 * The sampling rate that the times of samples have, in seconds, and the gaps between them. `resolution` is what the
 * times were rounded to: the step between two samples tells little where it is coarse, the span of all of them does.
 * Throws where fewer than two times are there, or where they run backwards.
 */
export function timingOf(times: ArrayLike<number>, resolution: number): Timing {
  const steps = Float64Array.from({ length: Math.max(0, times.length - 1) }, (_, i) => times[i + 1]! - times[i]!)
  const known = steps.filter(Number.isFinite)
  if (known.length === 0) throw new Error('has a time column without times')
  const median = known.toSorted()[known.length >> 1]!
  if (median < 0) throw new Error('has a time column that runs backwards')
  const typical = median > 0 ? median : known.reduce((sum, step) => sum + step, 0) / known.length
  const largest = 1.5 * typical + resolution
  const isGap = (step: number) => step < -resolution || step > largest
  const between = known.filter(step => !isGap(step))
  const span = between.reduce((sum, step) => sum + step, 0)
  if (!(span > 0)) throw new Error('has a time column that stands still')
  const gaps: number[] = []
  for (const [i, step] of steps.entries()) if (isGap(step)) gaps.push(i + 1)
  return { rateHz: plainRate(between.length / span, (2 * resolution) / span), gaps }
}

/** The roundest rate that the times cannot be told from: 25,600 Hz and not 25,600.003. */
function plainRate(rateHz: number, precision: number): number {
  const tolerance = rateHz * Math.min(Math.max(precision, 1e-6), 1e-3)
  for (const unit of [1_000, 100, 10, 1, 0.1]) {
    const round = Math.round(rateHz / unit) * unit
    if (round > 0 && Math.abs(round - rateHz) <= tolerance) return round
  }
  return rateHz
}

/**
 * Times from columns of hours, minutes, seconds and microseconds, which the PRONOSTIA rig and some loggers write, in
 * seconds since midnight. Undefined where the columns hold something else.
 */
export function clockTimes(columns: readonly ArrayLike<number>[]): Float64Array | undefined {
  const [hours, minutes, seconds, microseconds] = columns
  if (!hours || !minutes || !seconds || !microseconds || hours.length < 3) return undefined
  const times = new Float64Array(hours.length)
  let largest = 0
  for (let i = 0; i < times.length; i++) {
    const whole: [number, number][] = [
      [hours[i]!, 24],
      [minutes[i]!, 60],
      [seconds[i]!, 60],
    ]
    if (!whole.every(([value, end]) => Number.isInteger(value) && value >= 0 && value < end)) return undefined
    const micro = microseconds[i]!
    if (!(micro >= 0 && micro < 1e6)) return undefined
    largest = Math.max(largest, micro)
    times[i] = hours[i]! * 3_600 + minutes[i]! * 60 + seconds[i]! + micro / 1e6
    if (i > 0 && times[i]! < times[i - 1]!) return undefined
  }
  return largest >= 60 ? times : undefined
}

/** True for a first column without a name that can only be seconds: it grows by the same fraction with each row. */
export function areSeconds(values: ArrayLike<number>): boolean {
  if (values.length < 16) return false
  const mean = (values[values.length - 1]! - values[0]!) / (values.length - 1)
  if (!(mean > 0 && mean < 0.1)) return false
  for (let i = 1; i < values.length; i++) {
    const step = values[i]! - values[i - 1]!
    if (!(step > 0 && Math.abs(step - mean) <= 0.25 * mean)) return false
  }
  return true
}
