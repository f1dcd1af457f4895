import { type Budget, type Health, toFaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { Settings } from '../spool/storage.ts'
import { type Amounts, bucketMs, type Level, levels, RollingDay } from './rolling-day.ts'

/** What bytes are for. Upkeep is what the fleet must know of a device whatever else is held back: its state. */
export type Purpose = 'upkeep' | 'report' | 'escalation' | 'exploration'

const levelsOf: Record<Purpose, readonly Level[]> = {
  upkeep: ['total'],
  report: ['total'],
  escalation: ['total', 'escalations'],
  exploration: levels,
}

export interface ByteBudgetOptions {
  settings: Pick<Settings, 'read' | 'writeThrough'>
  /** Whether bytes count now: on a metered link. */
  metered: () => boolean
  logger: Logger
  /** Time since 1970, and time that nobody sets, both in ms. */
  clock?: { wall(): number; monotonic(): number }
}

const settingName = 'budget'
/** Written down ahead, so that not every message waits for the disk; a crash forfeits what was not sent of it. */
const ahead = { bytes: 65_536, share: 1 / 20 }
const upkeep = { bytes: 4_096, share: 1 / 20 }
/** Clocks drift and are slewed; beyond this one was set. */
const setMs = 60_000

const none: Amounts = { total: 0, escalations: 0, exploration: 0 }

/**
 * A budget of bytes in any 24 hours. Bytes are on the disk as spent before the first of them is sent, so neither a restart
 * nor a power cut grants them again. Any 24 hours, rather than a day of the calendar: two budgets must not meet at
 * midnight, and whichever day a tariff counts, the budget holds for it.
 */
export class ByteBudget {
  private readonly options: ByteBudgetOptions
  private readonly clock: { wall(): number; monotonic(): number }
  private readonly day = new RollingDay()
  private limits: Budget | null = null
  private last: { wall: number; monotonic: number }
  /** Written down as spent in the bucket that runs, and not spent yet. */
  private reserved: Amounts = { ...none }
  private bucket: number

  /** Reads what was spent before. */
  constructor(options: ByteBudgetOptions) {
    this.options = options
    this.clock = options.clock ?? { wall: Date.now, monotonic: () => performance.now() }
    const kept = options.settings.read(settingName)
    if (kept !== undefined && !this.day.restore(kept))
      options.logger.warn('what was spent of the budget is not readable')
    this.last = { wall: this.clock.wall(), monotonic: this.clock.monotonic() }
    this.bucket = Math.floor(this.last.wall / bucketMs)
    this.day.advance(this.bucket)
  }

  /** Puts limits in force; what was spent stays spent. Null: bytes are neither limited nor counted. */
  use(limits: Budget | null): void {
    this.limits = limits
  }

  /** Whether a budget holds here and now. */
  get applies(): boolean {
    return this.limits !== null && this.options.metered()
  }

  /** Takes bytes that are about to be sent out of the budget. False, and nothing taken, where they do not fit. */
  spend(purpose: Purpose, bytes: number): boolean {
    if (!this.limits || !this.applies) return true
    this.settle()
    const touched = levelsOf[purpose]
    if (touched.some(level => bytes > this.left(level, purpose))) return false
    if (touched.some(level => bytes > this.reserved[level]) && !this.reserve(touched, bytes)) return false
    const amounts = Object.fromEntries(touched.map(level => [level, bytes]))
    this.day.add(this.bucket, amounts)
    for (const level of touched) this.reserved[level] -= bytes
    return true
  }

  /** Bytes left of the level that a purpose runs into first. */
  leftFor(purpose: Purpose): number {
    return Math.min(...levelsOf[purpose].map(level => this.left(level, purpose)))
  }

  /** For health. */
  get report(): Health['budget'] {
    if (!this.limits) return undefined
    this.settle()
    const of = (level: Level) => {
      const used = this.day.used(level)
      return { used, left: Math.max(0, this.limit(level) - used) }
    }
    return { total: of('total'), escalations: of('escalations'), exploration: of('exploration') }
  }

  /** Gives back what was written down ahead. */
  close(): void {
    if (levels.every(level => this.reserved[level] === 0)) return
    this.settle()
    this.reserved = { ...none }
    this.write()
  }

  private limit(level: Level): number {
    const { bytesPerDay = 0, escalationBytesPerDay = 0, explorationBytesPerDay = 0 } = this.limits ?? {}
    return { total: bytesPerDay, escalations: escalationBytesPerDay, exploration: explorationBytesPerDay }[level]
  }

  private left(level: Level, purpose: Purpose): number {
    const limit = this.limit(level)
    const kept = level === 'total' && purpose !== 'upkeep' ? Math.min(upkeep.bytes, limit * upkeep.share) : 0
    return Math.max(0, Math.floor(limit - kept - this.day.used(level)))
  }

  /** Writes bytes down as spent, and some more. False where that failed: what cannot be counted is not sent. */
  private reserve(touched: readonly Level[], bytes: number): boolean {
    const before = this.reserved
    this.reserved = { ...before }
    for (const level of touched) {
      const block = Math.max(bytes, Math.min(ahead.bytes, this.limit(level) * ahead.share))
      this.reserved[level] = Math.floor(Math.min(block, this.limit(level) - this.day.used(level)))
    }
    if (this.write()) return true
    this.reserved = before
    return false
  }

  private write(): boolean {
    const written = new RollingDay()
    written.restore(this.day.snapshot())
    written.add(this.bucket, this.reserved)
    try {
      this.options.settings.writeThrough(settingName, written.snapshot())
      return true
    } catch (thrown) {
      this.options.logger.error({ error: toFaultlineError(thrown).message }, 'budget not written, nothing sent')
      return false
    }
  }

  /** Follows the clock. What was written down ahead belongs to the bucket it was written in. */
  private settle(): void {
    const now = { wall: this.clock.wall(), monotonic: this.clock.monotonic() }
    const set = now.wall - this.last.wall - (now.monotonic - this.last.monotonic)
    const bucket = Math.floor(now.wall / bucketMs)
    const putForward = set > setMs ? Math.ceil(set / bucketMs) : 0
    this.last = now
    if (bucket === this.bucket && putForward === 0) return
    this.bucket = bucket
    this.day.advance(bucket, putForward)
    this.reserved = { ...none }
    // A clock that was set is written down at once: after a crash nobody could tell any more.
    if (putForward > 0) this.write()
  }
}
