/** The latest rounds that a verdict was learned from, to know a repetition by: repetitions follow closely. */
export class RecentRounds {
  static readonly capacity = 64
  #rounds: number[] = []
  #oldest = 0
  #latest = -1

  /** True the first time a round is named. */
  add(round: number): boolean {
    // Verdicts mostly come in the order of their windows; only the others need a search.
    if (round > this.#latest) this.#latest = round
    else if (this.#rounds.includes(round)) return false
    this.#rounds[this.#oldest] = round
    this.#oldest = (this.#oldest + 1) % RecentRounds.capacity
    return true
  }

  /** From the oldest to the newest. */
  get rounds(): number[] {
    if (this.#rounds.length < RecentRounds.capacity) return [...this.#rounds]
    return [...this.#rounds.slice(this.#oldest), ...this.#rounds.slice(0, this.#oldest)]
  }

  set rounds(rounds: readonly number[]) {
    this.#rounds = [...rounds]
    this.#oldest = rounds.length % RecentRounds.capacity
    this.#latest = Math.max(-1, ...rounds)
  }
}
