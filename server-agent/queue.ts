import type { Escalation, TopicAddress } from '@faultline/protocol'

export interface QueuedEscalation {
  escalation: Escalation
  /** Where the verdict goes. */
  replyTo: Extract<TopicAddress, { kind: 'verdict' }>
  /** Monotonic, in ms. */
  receivedAt: number
  /** When the device stops waiting; monotonic, in ms. */
  expiresAt: number
  /** What it takes of memory. */
  bytes: number
  /** Workers that ended while they had it. */
  deaths: number
}

/** What waits for one model, most urgent first: machines in alarm before all others, then by deadline. */
export class EscalationQueue {
  /** Since when what waits has waited for a batch of its own; monotonic, in ms. */
  since = 0
  private readonly items: QueuedEscalation[] = []

  get size(): number {
    return this.items.length
  }

  get first(): QueuedEscalation | undefined {
    return this.items[0]
  }

  /** The least urgent. */
  get last(): QueuedEscalation | undefined {
    return this.items.at(-1)
  }

  add(item: QueuedEscalation): void {
    if (this.items.length === 0) this.since = performance.now()
    this.items.splice(this.aheadOf(item), 0, item)
  }

  /** How many would be taken before an item that came now. */
  aheadOf(item: QueuedEscalation): number {
    let low = 0
    let high = this.items.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (isMoreUrgent(item, this.items[middle]!)) high = middle
      else low = middle + 1
    }
    return low
  }

  /** Takes up to `maximum` for one batch. What was in a batch that ended a worker is taken alone. */
  take(maximum: number): QueuedEscalation[] {
    this.since = performance.now()
    const suspect = this.items.slice(0, maximum).findIndex(({ deaths }) => deaths > 0)
    return this.items.splice(0, suspect < 0 ? maximum : Math.max(1, suspect))
  }

  removeLast(): QueuedEscalation | undefined {
    return this.items.pop()
  }
}

/** False for two that are equal: who came first goes first. */
export function isMoreUrgent(a: QueuedEscalation, b: QueuedEscalation): boolean {
  const [inAlarm, other] = [a.escalation.alarm === true, b.escalation.alarm === true]
  return inAlarm === other ? a.expiresAt < b.expiresAt : inAlarm
}
