const recentMs = 10_000
/** Weight of the newest batch: a few batches decide, one does not. */
const newest = 0.3

/** How fast the agent works, measured on its own batches. */
export class Throughput {
  private msPerWindow: number | undefined
  private readonly batches: { at: number; windows: number }[] = []
  private firstAt: number | undefined
  private current: { startedAt: number; windows: number } | undefined

  /** A batch begins. */
  begin(windows: number): void {
    this.firstAt ??= performance.now()
    this.current = { startedAt: performance.now(), windows }
  }

  /** The batch is done. */
  end(): void {
    if (!this.current) return
    const { startedAt, windows } = this.current
    this.current = undefined
    const now = performance.now()
    const sample = (now - startedAt) / windows
    this.msPerWindow = this.msPerWindow === undefined ? sample : newest * sample + (1 - newest) * this.msPerWindow
    this.batches.push({ at: now, windows })
    this.prune(now)
  }

  /** Time the agent needs for so many windows. Before the first batch is done, what that one has taken so far. */
  expectedMs(windows: number): number {
    const { current } = this
    const running = current ? (performance.now() - current.startedAt) / current.windows : 0
    return Math.ceil(windows * (this.msPerWindow ?? running))
  }

  /** Windows taken per second over the last ten seconds, or since the first batch began where that is less. */
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
