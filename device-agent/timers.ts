/** Work that is done again and again, by name. What it throws goes to `failed`: out of a timer it would end the process. */
export class Timers<Name extends string> {
  private readonly failed: (thrown: unknown, name: Name) => void
  private readonly running = new Map<Name, NodeJS.Timeout>()

  constructor(failed: (thrown: unknown, name: Name) => void) {
    this.failed = failed
  }

  /** Begins, or goes on with another interval. */
  repeat(name: Name, intervalS: number, work: () => void): void {
    clearInterval(this.running.get(name))
    const guarded = () => {
      try {
        work()
      } catch (thrown) {
        this.failed(thrown, name)
      }
    }
    this.running.set(name, setInterval(guarded, intervalS * 1_000))
  }

  stop(): void {
    for (const timer of this.running.values()) clearInterval(timer)
    this.running.clear()
  }
}
