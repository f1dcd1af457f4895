/** Lets somebody wait, for a while, until work is done. */
export class IdleSignal {
  private readonly waiters = new Set<() => void>()

  /** Resolves with the next `notify`, or after so long. */
  wait(timeoutMs: number): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        clearTimeout(timer)
        this.waiters.delete(done)
        resolve()
      }
      const timer = setTimeout(done, timeoutMs)
      this.waiters.add(done)
    })
  }

  notify(): void {
    for (const done of [...this.waiters]) done()
  }
}
