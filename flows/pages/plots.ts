import { type TrendFeature, type TrendPart, trendFeatures } from '../dashboard/trend.ts'

type Value = number | null

/** Samples over time, by feature. */
export interface Trends {
  values: Record<TrendFeature, Value[]>
  length: number
  /** Times of the first and the last; absent where there are none. */
  from?: string
  to?: string
}

/** The parts of a trend put together, oldest first. */
export function joined(parts: readonly TrendPart[]): Trends {
  const all = (name: TrendFeature) => parts.flatMap(part => part.values[name])
  const values = Object.fromEntries(trendFeatures.map(name => [name, all(name)])) as Trends['values']
  return { values, length: values.rms.length, from: parts[0]?.from, to: parts.at(-1)?.to }
}

/** A path over a plot of 1000 by 200, its values between `low` and `high`. */
export function line(values: ArrayLike<Value>, low: number, high: number): string {
  const step = 1000 / Math.max(1, values.length - 1)
  const y = (value: Value) => (200 - (((value ?? 0) - low) / (high - low || 1)) * 200).toFixed(1)
  return Array.from(values, (value, i) => `${i === 0 ? 'M' : 'L'}${(i * step).toFixed(1)} ${y(value)}`).join('')
}

/** The greatest of values that are not negative. */
export const most = (values: ArrayLike<Value>): number =>
  Array.from(values).reduce((greatest: number, value) => Math.max(greatest, value ?? 0), 0)

/** Amplitudes by frequency, from 0 Hz on. */
export interface Spectrum {
  stepHz: number
  values: ArrayLike<number>
}

export const endOf = ({ stepHz, values }: Spectrum): number => stepHz * (values.length - 1)

/** Frequency of the greatest amplitude, in Hz. */
export const highest = ({ stepHz, values }: Spectrum): string =>
  (Array.from(values).indexOf(most(values)) * stepHz).toFixed(1)
