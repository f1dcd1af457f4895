/** Moments at which something is due, by name. Knows the earliest without a look at all of them most of the time. */
export class Deadlines {
  private readonly moments = new Map<string, number>()
  /** Undefined when it has to be looked for. */
  private earliest: number | undefined = Number.POSITIVE_INFINITY

  /** In ms since 1970; infinity when nothing is due. */
  get next(): number {
    if (this.earliest === undefined) {
      this.earliest = Number.POSITIVE_INFINITY
      for (const at of this.moments.values()) this.earliest = Math.min(this.earliest, at)
    }
    return this.earliest
  }

  set(name: string, at: number): void {
    this.delete(name)
    this.moments.set(name, at)
    if (this.earliest !== undefined) this.earliest = Math.min(this.earliest, at)
  }

  delete(name: string): void {
    if (this.moments.get(name) === this.earliest) this.earliest = undefined
    this.moments.delete(name)
  }

  /** The clock was set: everything is due as much later. */
  shift(ms: number): void {
    for (const [name, at] of this.moments) this.moments.set(name, at + ms)
    this.earliest = undefined
  }

  /** The names that are due; they are not any more. */
  take(now: number): string[] {
    if (this.next > now) return []
    const due = [...this.moments].filter(([, at]) => at <= now).map(([name]) => name)
    for (const name of due) this.moments.delete(name)
    this.earliest = undefined
    return due
  }
}
