import { Random } from '../random.ts'

/**
 * A generalised extreme value distribution, which maxima of many values tend to (Coles 2001, theorem 3.1). Shape 0 is the
 * Gumbel law; above 0 the tail is heavier.
 */
export interface ExtremeValue {
  location: number
  scale: number
  shape: number
}

const EULER = 0.5772156649015329

/** Location and scale of the Gumbel law with the same first two L-moments (Hosking 1990, table 2). */
export function fitGumbel(values: ArrayLike<number>): { location: number; scale: number } {
  const [first, second] = lMoments(values)
  const scale = second / Math.LN2
  return { location: first - EULER * scale, scale }
}

/**
 * The shape that the first three L-moments ask for, by Hosking's approximation (Hosking, Wallis & Wood 1985, eq. 14),
 * but never below 0: a few dozen maxima cannot show that the tail ends. At most 0.5, whose return levels are beyond use
 * already. Steps of 0.05, rounded up, so that tolerance factors can be kept.
 */
export function heavyShape(values: ArrayLike<number>): number {
  const [, second, third] = lMoments(values)
  if (second <= 0) return 0
  const c = 2 / (3 + third / second) - Math.LN2 / Math.log(3)
  const shape = -(7.859 * c + 2.9554 * c * c)
  return Math.min(Math.max(Math.ceil(shape * 20 - 1e-9) / 20, 0), 0.5)
}

/** The value exceeded with probability `tail`. */
export function exceededWith(tail: number, { location, scale, shape }: ExtremeValue): number {
  return location + scale * standardQuantile(-Math.log1p(-tail), shape)
}

const REPLICATES = 2000
const factors = new Map<string, number>()
const KEPT_FACTORS = 64

/**
 * How many Gumbel scales above the Gumbel location fitted to `count` maxima a limit has to lie for the true exceedance
 * probability to be at most `tail` with this confidence, when the maxima have this shape. Location and scale drop
 * out, so the factor is drawn once per case, from a fixed seed: it is the same everywhere.
 */
export function toleranceFactor(count: number, shape: number, tail: number, confidence: number): number {
  const key = `${count} ${shape} ${tail} ${confidence}`
  const kept = factors.get(key)
  if (kept !== undefined) return kept
  const random = new Random(count)
  const wanted = exceededWith(tail, { location: 0, scale: 1, shape })
  const sample = new Float64Array(count)
  const needed = Float64Array.from({ length: REPLICATES }, () => {
    for (let i = 0; i < count; i++) sample[i] = standardQuantile(-Math.log(random.uniform() || Number.EPSILON), shape)
    const fit = fitGumbel(sample)
    return (wanted - fit.location) / fit.scale
  }).sort()
  const factor = needed[Math.min(REPLICATES - 1, Math.ceil(confidence * REPLICATES))]!
  if (factors.size >= KEPT_FACTORS) factors.clear()
  factors.set(key, factor)
  return factor
}

/** The standard variable whose cumulative probability has this negative logarithm. */
function standardQuantile(minusLog: number, shape: number): number {
  return shape === 0 ? -Math.log(minusLog) : (minusLog ** -shape - 1) / shape
}

/** The first three sample L-moments, unbiased. */
function lMoments(values: ArrayLike<number>): [number, number, number] {
  const sorted = Float64Array.from(values).sort()
  const n = sorted.length
  let [b0, b1, b2] = [0, 0, 0]
  for (const [i, value] of sorted.entries()) {
    b0 += value / n
    b1 += (i / (n - 1)) * (value / n)
    b2 += ((i * (i - 1)) / ((n - 1) * (n - 2))) * (value / n)
  }
  return [b0, Math.max(2 * b1 - b0, 0), 6 * b2 - 6 * b1 + b0]
}
