const kept = 200

/** How long verdicts take, over the recent ones. */
export class RoundTrips {
  private readonly recent: number[] = []

  add(ms: number): void {
    this.recent.push(ms)
    if (this.recent.length > kept) this.recent.shift()
  }

  /** Undefined before the first verdict. */
  get summary(): { median: number; p95: number; samples: number } | undefined {
    if (this.recent.length === 0) return undefined
    const sorted = [...this.recent].sort((a, b) => a - b)
    // Nearest rank: the smallest value that at least this share of the others does not exceed.
    const rank = (share: number) => sorted[Math.ceil(share * sorted.length) - 1]!
    const tenths = (ms: number) => Math.round(ms * 10) / 10
    return { median: tenths(rank(0.5)), p95: tenths(rank(0.95)), samples: sorted.length }
  }
}
