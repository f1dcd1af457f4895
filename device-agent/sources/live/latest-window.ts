import type { SourceWindow } from '../source.ts'

/**
 * Hands over windows that come when they come. One that nobody has taken when the next is there is passed over and
 * counted: they never pile up.
 */
export class LatestWindow {
  overruns = 0
  private ready: SourceWindow | undefined
  private ended: { error?: unknown } | undefined
  private wake: () => void = () => {}

  put(window: SourceWindow): void {
    if (this.ready) this.overruns++
    this.ready = window
    this.wake()
  }

  /** There are no more windows, and why. */
  end(error?: unknown): void {
    this.ended = error === undefined ? {} : { error }
    this.wake()
  }

  /** Begins anew: what came before is forgotten. */
  begin(): void {
    this.ended = undefined
    this.ready = undefined
  }

  /** Until the signal aborts or the windows end. Throws what they ended with. */
  async *windows(signal: AbortSignal): AsyncGenerator<SourceWindow, void, void> {
    const aborted = () => this.wake()
    signal.addEventListener('abort', aborted)
    try {
      while (!signal.aborted) {
        const { ready } = this
        this.ready = undefined
        if (ready) yield ready
        else if (this.ended?.error !== undefined) throw this.ended.error
        else if (this.ended) return
        else
          await new Promise<void>(resolve => {
            this.wake = resolve
          })
      }
    } finally {
      signal.removeEventListener('abort', aborted)
    }
  }
}
