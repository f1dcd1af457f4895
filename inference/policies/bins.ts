/** A division of [0, 1] by rising edges: bin i begins at edge i - 1, which belongs to it. */
export class Bins {
  readonly edges: readonly number[]

  constructor(edges: readonly number[]) {
    this.edges = edges
  }

  /** Bins of the same width; 1 belongs to the last. */
  static equalWidth(count: number): Bins {
    return new Bins(Array.from({ length: count - 1 }, (_, i) => (i + 1) / count))
  }

  /**
   * Bins of about the same weight each: quantiles of a weighted sample. Fewer where values repeat, since no edge can
   * part what is equal.
   */
  static quantiles(values: readonly number[], count: number, weightOf: (value: number) => number): Bins {
    const sorted = [...values].sort((a, b) => a - b)
    const total = sorted.reduce((sum, value) => sum + weightOf(value), 0)
    const edges = new Set<number>()
    let below = 0
    let bin = 0
    for (const value of sorted) {
      const reached = Math.floor((below * count) / total)
      if (reached > bin && value > sorted[0]!) {
        edges.add(value)
        bin = reached
      }
      below += weightOf(value)
    }
    return new Bins([...edges])
  }

  get count(): number {
    return this.edges.length + 1
  }

  /** The bin of a value: how many edges are at or below it. */
  indexOf(value: number): number {
    const { edges } = this
    let low = 0
    let high = edges.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (edges[middle]! <= value) low = middle + 1
      else high = middle
    }
    return low
  }
}
