/** Windows of the alarm rule that flows have by default: on at 4 faulty of 6, off at 10 normal of 12. */
const on = { votes: 4, windows: 6 }
const off = { votes: 10, windows: 12 }

/**
 * Whether a machine with one measurement point has an alarm, after each window. Flows name alarms by fault and hold their
 * lives; whether there is any at all comes down to this, which a test holds against them.
 */
export class AlarmVotes {
  active = false
  private recent: boolean[] = []

  /** Returns true when this window raises an alarm. */
  observe(faulty: boolean): boolean {
    this.recent = [...this.recent, faulty].slice(-Math.max(on.windows, off.windows))
    const of = (windows: number, kind: boolean) => this.recent.slice(-windows).filter(vote => vote === kind).length
    if (!this.active && of(on.windows, true) >= on.votes) {
      this.active = true
      return true
    }
    if (this.active && of(off.windows, false) >= off.votes) {
      this.active = false
      this.recent = []
    }
    return false
  }
}
