const recentMs = 10_000

/** Windows taken per second over the last ten seconds, or since the first batch began where that is less. */
export class Throughput {
  private readonly batches: { at: number; windows: number }[] = []
  private firstAt: number | undefined

  /** A batch begins. */
  begin(): void {
    this.firstAt ??= performance.now()
  }

  /** It is done. */
  end(windows: number): void {
    const now = performance.now()
    this.batches.push({ at: now, windows })
    this.prune(now)
  }

  get windowsPerSecond(): number {
    const now = performance.now()
    this.prune(now)
    const windows = this.batches.reduce((sum, batch) => sum + batch.windows, 0)
    const elapsedMs = Math.min(recentMs, now - (this.firstAt ?? now))
    return elapsedMs > 0 ? windows / (elapsedMs / 1_000) : 0
  }

  private prune(now: number): void {
    while (this.batches[0] && now - this.batches[0].at > recentMs) this.batches.shift()
  }
}
