/** What a batch of so many windows took. */
export interface BatchTime {
  batch: number
  ms: number
}

/** Weight of the newest batch: a few batches decide, one does not. */
const newest = 0.3
/** A larger batch has to be faster by this, per window, to be worth the longer wait of all that are in it. */
const worthwhile = 0.03

/** How long a model takes over batches, by their size to the next power of two: measured at the start, then on real work. */
export class BatchTimes {
  /** The smallest batch that is about as fast per window as any; undefined where nothing was measured at the start. */
  readonly best: number | undefined
  private readonly msPerWindow: (number | undefined)[] = []

  constructor(measured: readonly BatchTime[] = []) {
    for (const { batch, ms } of measured) this.record(batch, ms)
    const fastest = Math.min(...measured.map(({ batch, ms }) => ms / batch))
    this.best = measured.find(({ batch, ms }) => ms / batch <= fastest * (1 + worthwhile))?.batch
  }

  record(batch: number, ms: number): void {
    const size = sizeOf(batch)
    const before = this.msPerWindow[size]
    const sample = ms / batch
    this.msPerWindow[size] = before === undefined ? sample : newest * sample + (1 - newest) * before
  }

  /** What a batch of so many is expected to take; undefined before any was measured. */
  batchMs(batch: number): number | undefined {
    const size = sizeOf(batch)
    for (let distance = 0; distance < Math.max(this.msPerWindow.length, size + 1); distance++) {
      // Smaller batches are slower per window: the safer guess comes first.
      const ms = this.msPerWindow[size - distance] ?? this.msPerWindow[size + distance]
      if (ms !== undefined) return ms * batch
    }
    return undefined
  }
}

const sizeOf = (batch: number): number => Math.ceil(Math.log2(batch))
