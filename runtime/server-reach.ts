/** Windows in a row without any answer after which servers count as gone. */
const gone = 5
const probe = { firstMs: 1_000, longestMs: 60_000 }
/**
 * Windows whose end says how many are answered. Old ones are forgotten, or a device that a high price keeps from asking
 * would never learn that asking has become worth it; and fewer say too little.
 */
const remembered = { windows: 50, ms: 600_000, fewest: 10 }
/** Fewer round trips than these say little about the next. */
const enoughTrips = 20
/** A deadline is never shortened below this, nor below so many times what verdicts take. */
const shortest = { ms: 1_000, times: 4 }
/** A server that errs must not silence anybody for long: the longest deadline there is. */
const longestPauseMs = 600_000
/** Of a price: an answer that hardly ever comes costs twenty times as much, not without end. */
const leastShare = 0.05

export interface TripSummary {
  p95: number
  samples: number
}

/**
 * Whether servers answer, from what became of the windows sent to them. While they do not, nobody waits: the local answer
 * stands at once, and one window now and then is sent to find out, after one second at first and every minute at last.
 */
export class ServerReach {
  private readonly clock: () => number
  private unanswered = 0
  private probeAt = 0
  private pausedUntil = Number.NEGATIVE_INFINITY
  private pauseMs: number = probe.firstMs
  private ends: { at: number; answered: boolean }[] = []

  constructor(clock: () => number = () => performance.now()) {
    this.clock = clock
  }

  get reachable(): boolean {
    return this.unanswered < gone
  }

  /** Share of the windows of the last ten minutes that were answered, in time or declined; 1 where they are few. */
  get answeredShare(): number {
    const since = this.clock() - remembered.ms
    const recent = this.ends.filter(({ at }) => at >= since)
    if (recent.length < remembered.fewest) return 1
    return recent.filter(({ answered }) => answered).length / recent.length
  }

  /** Whether a server has asked to be sent nothing for now. */
  get paused(): boolean {
    return this.clock() < this.pausedUntil
  }

  /** A server asks to be sent nothing for so long, in ms. */
  pause(ms: number): void {
    this.pausedUntil = Math.max(this.pausedUntil, this.clock() + Math.min(ms, longestPauseMs))
  }

  /** Whether a window may be sent now; while servers are gone, taking the leave is the probe. */
  mayAsk(): boolean {
    if (this.reachable) return true
    const now = this.clock()
    if (now < this.probeAt) return false
    this.probeAt = now + this.pauseMs
    this.pauseMs = Math.min(probe.longestMs, 2 * this.pauseMs)
    return true
  }

  /** How long to wait for a verdict: as configured, and no longer than verdicts give reason to. */
  deadlineMs(configured: number, trips: TripSummary | undefined): number {
    if (!trips || trips.samples < enoughTrips) return configured
    return Math.min(configured, Math.max(shortest.ms, Math.ceil(shortest.times * trips.p95)))
  }

  /** What an answer costs, where not every escalation gets one. */
  price(ofOne: number): number {
    return Math.min(1, ofOne / Math.max(leastShare, this.answeredShare))
  }

  /** A server spoke about a window, in time. */
  answered(): void {
    this.heard()
    this.note(true)
  }

  /** A server spoke, however late: it is there. */
  heard(): void {
    // What they did not answer while they were gone says nothing of how they are now.
    if (!this.reachable) this.ends = []
    this.unanswered = 0
    this.pauseMs = probe.firstMs
  }

  /** The deadline of a window passed. */
  late(): void {
    this.note(false)
    this.unanswered++
    if (this.unanswered === gone) this.probeAt = this.clock() + this.pauseMs
  }

  private note(answered: boolean): void {
    this.ends.push({ at: this.clock(), answered })
    if (this.ends.length > remembered.windows) this.ends.shift()
  }
}
