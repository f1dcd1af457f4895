/** What receivers have got of numbered messages: one of its own for each stored session, one for all members of a group. */
export class Tally {
  /** Deliveries, again and again of the same message included. */
  deliveries = 0
  private readonly times = new Map<number, number>()

  add(number: number): void {
    this.deliveries++
    this.times.set(number, (this.times.get(number) ?? 0) + 1)
  }

  /** Those that were never delivered, of these. */
  missing(numbers: Iterable<number>): number[] {
    return [...numbers].filter(number => !this.times.has(number))
  }

  /** Those that were delivered more than once. */
  repeated(): number[] {
    return [...this.times].filter(([, times]) => times > 1).map(([number]) => number)
  }
}
