import type { Counters, Outcome } from '@faultline/protocol'

/** How a window can end that was not sent. */
export type Unsent = Extract<Outcome, 'accepted' | 'offline' | 'rejected' | 'withheld'>

/**
 * Where the windows are. Each is counted once, when its fate is first known, and moves at most once more, from `pending`
 * to its outcome: so the sum holds at every moment, not only at rest.
 */
export class WindowCounters {
  private readonly counts: Counters = {
    windows: 0,
    accepted: 0,
    answered: 0,
    late: 0,
    rejected: 0,
    offline: 0,
    withheld: 0,
    pending: 0,
  }

  /** A window that ended without being sent: accepted, no connection, the server wants no more for now, or no bytes are left. */
  conclude(outcome: Unsent): void {
    this.counts.windows++
    this.counts[outcome]++
  }

  /** A window that was sent. */
  escalate(): void {
    this.counts.windows++
    this.counts.pending++
  }

  /** A window that was sent has ended. */
  settle(outcome: Exclude<Outcome, 'accepted' | 'withheld'>): void {
    this.counts.pending--
    this.counts[outcome]++
  }

  /** Windows that were sent and are under way, answered or late. */
  get sent(): number {
    const { pending, answered, late } = this.counts
    return pending + answered + late
  }

  snapshot(): Counters {
    return { ...this.counts }
  }
}
