import { z } from 'zod'

/** Values in a block at first. */
const FIRST_SIZE = 5
/** Blocks kept; when they are full, neighbours merge in pairs, so that memory stays bounded however long learning lasts. */
const MOST_BLOCKS = 64

const finite = z.number()
const count = z.int().nonnegative()

/** The whole memory of one statistic, serialisable. */
export const blockData = z
  .strictObject({
    count,
    mean: finite,
    /** Sum of squared deviations from the mean. */
    squares: finite.nonnegative(),
    /** Values in a finished block. */
    size: z.int().positive(),
    maxima: z.array(finite).max(MOST_BLOCKS),
    means: z.array(finite).max(MOST_BLOCKS),
    /** The block that is being filled. */
    open: z.strictObject({ count, maximum: finite.nullable(), sum: finite }),
  })
  .refine(data => data.maxima.length === data.means.length)
  .refine(data => data.count === data.size * data.maxima.length + data.open.count)

export type BlockData = z.infer<typeof blockData>

/**
 * A stream of values as maxima and means of consecutive blocks. Maxima say how far normal reaches; means say how much
 * the values depend on each other, because means of dependent values scatter more.
 */
export class BlockMaxima {
  #data: BlockData

  constructor(data?: BlockData) {
    this.#data = data
      ? structuredClone(data)
      : {
          count: 0,
          mean: 0,
          squares: 0,
          size: FIRST_SIZE,
          maxima: [],
          means: [],
          open: { count: 0, maximum: null, sum: 0 },
        }
  }

  add(value: number): void {
    const data = this.#data
    data.count++
    const step = value - data.mean
    data.mean += step / data.count
    data.squares += step * (value - data.mean)
    const { open } = data
    open.count++
    open.maximum = Math.max(open.maximum ?? value, value)
    open.sum += value
    if (open.count < data.size) return
    data.maxima.push(open.maximum)
    data.means.push(open.sum / open.count)
    data.open = { count: 0, maximum: null, sum: 0 }
    if (data.maxima.length === MOST_BLOCKS) this.#merge()
  }

  get count(): number {
    return this.#data.count
  }

  get mean(): number {
    return this.#data.mean
  }

  /** Maxima of the finished blocks. */
  get maxima(): readonly number[] {
    return this.#data.maxima
  }

  /** Values in a finished block. */
  get size(): number {
    return this.#data.size
  }

  /** The largest value of all, of unfinished blocks too. */
  get largest(): number {
    return Math.max(...this.#data.maxima, this.#data.open.maximum ?? Number.NEGATIVE_INFINITY)
  }

  /** True when the values are more than one value and its rounding. */
  get varies(): boolean {
    const { count, squares, mean } = this.#data
    return squares > 1e-18 * count * mean * mean
  }

  /**
   * How many independent values would settle the mean as well as these do. Likeness within blocks shows in the variance
   * of single values over that of block means (batch means; Law 2015, section 9.5.3); likeness across blocks, as of a
   * machine that drifts, in the correlation of neighbouring means, taken for that of a first-order process.
   */
  get effectiveCount(): number {
    const { count, squares, mean, means, size } = this.#data
    if (means.length < 3 || !this.varies) return Math.min(means.length, 1)
    let [variance, product] = [0, 0]
    for (const [i, value] of means.entries()) {
      variance += (value - mean) ** 2
      if (i > 0) product += (value - mean) * (means[i - 1]! - mean)
    }
    const within = Math.min(1, squares / (count - 1) / ((size * variance) / (means.length - 1)))
    const likeness = variance > 0 ? Math.min(Math.max(product / variance, 0), 1) : 0
    return (count * within * (1 - likeness)) / (1 + likeness)
  }

  snapshot(): BlockData {
    return structuredClone(this.#data)
  }

  #merge(): void {
    const data = this.#data
    const pairs = <T>(values: T[], join: (a: T, b: T) => T) =>
      Array.from({ length: values.length / 2 }, (_, i) => join(values[2 * i]!, values[2 * i + 1]!))
    data.maxima = pairs(data.maxima, Math.max)
    data.means = pairs(data.means, (a, b) => (a + b) / 2)
    data.size *= 2
  }
}
