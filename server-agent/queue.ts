import type { Escalation, TopicAddress } from '@faultline/protocol'

export interface QueuedEscalation {
  escalation: Escalation
  /** Where the verdict goes. */
  replyTo: Extract<TopicAddress, { kind: 'verdict' }>
  /** Monotonic, in ms. */
  receivedAt: number
}

/** What waits for a model. Bounded: a queue longer than devices wait would only produce late verdicts. */
export class EscalationQueue {
  private readonly items: QueuedEscalation[] = []
  private readonly maximum: number

  constructor(maximum: number) {
    this.maximum = maximum
  }

  get size(): number {
    return this.items.length
  }

  /** False when it is full. */
  offer(item: QueuedEscalation): boolean {
    if (this.items.length >= this.maximum) return false
    this.items.push(item)
    return true
  }

  /** Takes up to `maximum` of the task whose escalation has waited longest, oldest first. */
  take(maximum: number): QueuedEscalation[] {
    const task = this.items[0]?.escalation.task
    const taken: QueuedEscalation[] = []
    const left: QueuedEscalation[] = []
    for (const item of this.items) {
      if (taken.length < maximum && item.escalation.task === task) taken.push(item)
      else left.push(item)
    }
    this.items.splice(0, this.items.length, ...left)
    return taken
  }
}
