import { z } from 'zod'

/** Everything published, raw windows, windows sent to learn from: each holds the next. */
export const levels = ['total', 'escalations', 'exploration'] as const
export type Level = (typeof levels)[number]
export type Amounts = Record<Level, number>

export const bucketMs = 15 * 60_000
/** A day of them and the one that runs: what was sent stays counted for 24 hours at least and 24.25 at most. */
const bucketsCounted = 97

const amount = z.number().nonnegative()
const stored = z.array(z.tuple([z.int(), amount, amount, amount])).max(bucketsCounted)

/** Bytes of the last 24 hours, in buckets of a quarter of an hour. */
export class RollingDay {
  private buckets = new Map<number, Amounts>()

  add(bucket: number, amounts: Partial<Amounts>): void {
    const sums = this.buckets.get(bucket) ?? { total: 0, escalations: 0, exploration: 0 }
    for (const level of levels) sums[level] += amounts[level] ?? 0
    this.buckets.set(bucket, sums)
  }

  /**
   * Makes `now` the bucket that runs, after the clock was put forward by so many: what was counted moves with it. What
   * would lie in the future, because the clock was put back, is as new as can be.
   */
  advance(now: number, putForward = 0): void {
    const before = this.buckets
    this.buckets = new Map()
    for (const [bucket, amounts] of before) {
      const moved = Math.min(now, bucket + putForward)
      if (moved > now - bucketsCounted) this.add(moved, amounts)
    }
  }

  used(level: Level): number {
    let sum = 0
    for (const amounts of this.buckets.values()) sum += amounts[level]
    return sum
  }

  snapshot(): unknown {
    return [...this.buckets].map(([bucket, { total, escalations, exploration }]) => [
      bucket,
      total,
      escalations,
      exploration,
    ])
  }

  /** False where it is no snapshot. */
  restore(snapshot: unknown): boolean {
    const parsed = stored.safeParse(snapshot)
    if (!parsed.success) return false
    this.buckets = new Map()
    for (const [bucket, total, escalations, exploration] of parsed.data) {
      this.add(bucket, { total, escalations, exploration })
    }
    return true
  }
}
