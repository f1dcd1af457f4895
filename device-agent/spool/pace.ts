/** So many at once, then so many a second: a bucket of tokens. */
export class Pace {
  private readonly atOnce: number
  private readonly perSecond: number
  private readonly clock: () => number
  private tokens = 0
  private at = 0

  constructor(
    { atOnce, perSecond }: { atOnce: number; perSecond: number },
    clock: () => number = () => performance.now(),
  ) {
    this.atOnce = atOnce
    this.perSecond = perSecond
    this.clock = clock
  }

  /** A full bucket. */
  begin(): void {
    this.tokens = this.atOnce
    this.at = this.clock()
  }

  /** How many may go now. */
  get granted(): number {
    const now = this.clock()
    this.tokens = Math.min(this.atOnce, this.tokens + ((now - this.at) / 1_000) * this.perSecond)
    this.at = now
    return Math.floor(this.tokens)
  }

  take(count: number): void {
    this.tokens -= count
  }

  /** Until the next few may go: a timer for each would be a wake-up for each. */
  get waitMs(): number {
    return Math.ceil((Math.min(5, this.atOnce) / this.perSecond) * 1_000)
  }
}
