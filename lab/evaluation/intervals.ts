import { Random } from '@faultline/inference'

/** A figure with its 95 % interval; none where too few runs were tested to resample. */
export interface Interval {
  value: number
  low: number | null
  high: number | null
}

const REPLICATES = 2000
/** Resampling fewer runs than this gives intervals that are far too narrow. */
const FEWEST_RUNS = 8
const LEVEL = 0.95

/**
 * Percentile bootstrap over runs (Efron & Tibshirani 1993, chapter 13): whole runs are drawn with replacement, because
 * windows of one run resemble each other. `figuresOf` gets the drawn runs' items and gives one or more figures; the same
 * seed gives the same intervals.
 */
export function bootstrapRuns<T, K extends string>(
  byRun: readonly T[],
  figuresOf: (runs: readonly T[]) => Record<K, number>,
  seed = 1,
): Record<K, Interval> {
  const values = figuresOf(byRun)
  const keys = Object.keys(values) as K[]
  const drawn = new Map<K, number[]>(keys.map(key => [key, []]))
  const random = new Random(seed)
  if (byRun.length >= FEWEST_RUNS)
    for (let replicate = 0; replicate < REPLICATES; replicate++) {
      const runs = byRun.map(() => byRun[Math.floor(random.uniform() * byRun.length)]!)
      for (const [key, value] of Object.entries(figuresOf(runs))) drawn.get(key as K)!.push(value as number)
    }
  return Object.fromEntries(keys.map(key => [key, interval(values[key], drawn.get(key)!)])) as Record<K, Interval>
}

function interval(value: number, drawn: number[]): Interval {
  const sorted = drawn.filter(Number.isFinite).sort((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null
  return { value, low: at((1 - LEVEL) / 2), high: at((1 + LEVEL) / 2) }
}

const Z = 1.959964

/** A share of independent cases with Wilson's interval (1927), which holds near 0 and 1 too. */
export function wilson(count: number, of: number): Interval {
  const value = count / of
  const weight = Z ** 2 / of
  const centre = (value + weight / 2) / (1 + weight)
  const reach = (Z * Math.sqrt((value * (1 - value)) / of + weight / (4 * of))) / (1 + weight)
  return { value, low: Math.max(0, centre - reach), high: Math.min(1, centre + reach) }
}

/**
 * Upper bound at 95 % on the mean of a Poisson count of which `count` were seen: 3.0 for none (the rule of three), 4.7
 * for one (Garwood 1936).
 */
export function poissonUpperBound(count: number): number {
  let [low, high] = [count, 2 * count + 10]
  while (high - low > 1e-9 * high) {
    const middle = (low + high) / 2
    if (probabilityOfAtMost(count, middle) > 1 - LEVEL) low = middle
    else high = middle
  }
  return high
}

function probabilityOfAtMost(count: number, mean: number): number {
  let [term, sum] = [Math.exp(-mean), 0]
  for (let k = 0; k <= count; k++) {
    sum += term
    term *= mean / (k + 1)
  }
  return sum
}
