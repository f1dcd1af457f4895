import { EscalationQueue, type QueuedEscalation } from './queue.ts'

export interface BacklogOptions {
  maxItems: number
  maxBytes: number
}

/** What waits for all models: a queue for each task, bounded together. */
export class Backlog {
  items = 0
  bytes = 0
  private readonly options: BacklogOptions
  private readonly queues = new Map<string, EscalationQueue>()

  constructor(options: BacklogOptions) {
    this.options = options
  }

  [Symbol.iterator](): IterableIterator<[task: string, queue: EscalationQueue]> {
    return this.queues.entries()
  }

  of(task: string): EscalationQueue {
    const queue = this.queues.get(task) ?? new EscalationQueue()
    this.queues.set(task, queue)
    return queue
  }

  add(item: QueuedEscalation): void {
    this.of(item.escalation.task).add(item)
    this.count(item, 1)
  }

  /** Takes up to `maximum` for one batch. */
  take(queue: EscalationQueue, maximum: number): QueuedEscalation[] {
    const taken = queue.take(maximum)
    for (const item of taken) this.count(item, -1)
    return taken
  }

  takeAll(): QueuedEscalation[] {
    const all: QueuedEscalation[] = []
    for (const queue of this.queues.values()) while (queue.size > 0) all.push(...this.take(queue, queue.size))
    return all
  }

  /**
   * Gives what has to leave so that an item fits: nothing, or, for a machine in alarm, what others have sent. Undefined when it
   * cannot be made to fit.
   */
  makeRoomFor({ bytes, escalation }: QueuedEscalation): QueuedEscalation[] | undefined {
    const { maxItems, maxBytes } = this.options
    const evicted: QueuedEscalation[] = []
    while (this.items >= maxItems || this.bytes + bytes > maxBytes) {
      const queue = [...this.queues.values()].find(({ last }) => last && last.escalation.alarm !== true)
      if (!queue || !escalation.alarm) break
      const last = queue.removeLast()!
      this.count(last, -1)
      evicted.push(last)
    }
    if (this.items < maxItems && this.bytes + bytes <= maxBytes) return evicted
    for (const item of evicted) this.add(item)
    return undefined
  }

  private count({ bytes }: QueuedEscalation, sign: 1 | -1): void {
    this.items += sign
    this.bytes += sign * bytes
  }
}
