import { FaultlineError } from '@faultline/protocol'

interface Waiting<T> {
  resolve: (answer: T) => void
  reject: (error: FaultlineError) => void
  timer: NodeJS.Timeout
}

/** Answers that are awaited, by what they are to. */
export class Answers<T> {
  private readonly waiting = new Map<string, Waiting<T>>()

  /** Rejects with `ANSWER_MISSING` when none comes in time; `missing` says whose it is. */
  await(key: string, timeoutMs: number, missing: string): Promise<T> {
    const answer = new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(key)
        reject(new FaultlineError('ANSWER_MISSING', `${missing} within ${timeoutMs / 1_000} s`))
      }, timeoutMs)
      this.waiting.set(key, { resolve, reject, timer })
    })
    answer.catch(() => {}) // Whoever asked may have failed before it waited.
    return answer
  }

  give(key: string, answer: T): void {
    const waiting = this.waiting.get(key)
    if (!waiting) return
    this.waiting.delete(key)
    clearTimeout(waiting.timer)
    waiting.resolve(answer)
  }

  /** Nobody waits any more. */
  abandon(): void {
    for (const { reject, timer } of this.waiting.values()) {
      clearTimeout(timer)
      reject(new FaultlineError('ANSWER_MISSING', 'stopped before an answer came'))
    }
    this.waiting.clear()
  }
}
