import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { maxTimerMs } from '@faultline/runtime'

export interface Tick {
  /** Which window is due: 0, 1, 2, … with gaps where some were passed over. */
  index: number
  /** When it was due. */
  at: Date
}

/**
 * Window n is due at start + n x interval, whatever the ones before took, so that the rate does not drift. A consumer
 * that comes back late gets the window that is due then; those in between are passed over and counted.
 */
export class Pacer {
  /** Windows passed over. */
  overruns = 0
  readonly intervalMs: number

  constructor(intervalMs: number) {
    this.intervalMs = intervalMs
  }

  /** Ticks until the signal aborts; the first at once. */
  async *ticks(signal: AbortSignal): AsyncGenerator<Tick, void, void> {
    const start = performance.now()
    for (let index = 0; !signal.aborted; index++) {
      const due = start + index * this.intervalMs
      // A consumer that is always late would otherwise keep timers and sockets of the whole process waiting.
      if (performance.now() >= due) await nextTurn()
      else await this.until(due, signal)
      if (signal.aborted) return
      const missed = Math.max(0, Math.floor((performance.now() - due) / this.intervalMs))
      index += missed
      this.overruns += missed
      const sinceDue = Math.max(0, performance.now() - (start + index * this.intervalMs))
      yield { index, at: new Date(Date.now() - sinceDue) }
    }
  }

  private async until(due: number, signal: AbortSignal): Promise<void> {
    for (let ms = due - performance.now(); ms > 0 && !signal.aborted; ms = due - performance.now()) {
      await delay(Math.min(ms, maxTimerMs), undefined, { signal }).catch(() => {}) // Only an abort rejects.
    }
  }
}
