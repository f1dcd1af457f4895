import { totalmem } from 'node:os'

/** Below this share of free memory batches are halved; above twice this they grow again. */
const scarce = 0.05
const intervalMs = 1_000

/** The share of memory that is free, 0 to 1: of the machine's, or of the control group's where one limits this process. */
export function freeMemory(): number {
  const constrained = process.constrainedMemory()
  return process.availableMemory() / (constrained > 0 ? Math.min(constrained, totalmem()) : totalmem())
}

/** How many windows a batch of one model may have: what is fastest, less while memory is short. */
export class BatchLimit {
  private readonly free: () => number
  private reducedTo = Number.POSITIVE_INFINITY
  private checkedAt = Number.NEGATIVE_INFINITY

  constructor(free: () => number = freeMemory) {
    this.free = free
  }

  /** `fastest`: what would be taken with memory enough. */
  limit(fastest: number, now: number = performance.now()): number {
    if (now - this.checkedAt >= intervalMs) {
      this.checkedAt = now
      const free = this.free()
      if (free < scarce) this.shrink(fastest)
      else if (free > 2 * scarce && this.reducedTo < fastest) this.reducedTo *= 2
    }
    return Math.min(fastest, this.reducedTo)
  }

  /** A batch may have been too large: the worker that had it is gone. */
  shrink(size: number): void {
    this.reducedTo = Math.max(1, Math.floor(Math.min(size, this.reducedTo) / 2))
  }
}
