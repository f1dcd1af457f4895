/** Publishes a state that changes often: at once when it was quiet, otherwise at most once per interval. */
export class StatePublisher {
  private readonly publish: () => void
  private readonly intervalMs: number
  private timer: NodeJS.Timeout | undefined
  private lastAt = Number.NEGATIVE_INFINITY

  constructor(publish: () => void, intervalMs: number) {
    this.publish = publish
    this.intervalMs = intervalMs
  }

  /** Something changed. */
  changed(): void {
    if (this.timer) return
    const wait = this.lastAt + this.intervalMs - performance.now()
    this.timer = setTimeout(() => this.now(), Math.max(0, wait))
  }

  now(): void {
    this.stop()
    this.lastAt = performance.now()
    this.publish()
  }

  stop(): void {
    clearTimeout(this.timer)
    this.timer = undefined
  }
}
