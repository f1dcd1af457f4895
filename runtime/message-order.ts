import type { Message } from '@faultline/protocol'

/** What a retained message says of its place among those of its topic. */
interface Position {
  /** A counter that grows: starts of an agent, or revisions of a configuration. */
  counter?: number
  /** When the message was made, in ms. */
  at?: number
}

interface Last extends Position {
  /** The connection on which a live message of the topic came last; 0 before the first. */
  liveOn: number
}

/** Topics remembered. More than any fleet retains; names that are invented must not fill the memory. */
const maxTopics = 200_000

/**
 * Passes over retained messages that something newer has overtaken.
 *
 * A broker may send the retained message of a subscription after newer live ones: it reads them from its store meanwhile,
 * which takes minutes in a large fleet. The live ones count, because what is newer still comes live as well. And a will may
 * come late, when the agent has long been started again: an offline state of an earlier start says nothing of the present one.
 */
export class MessageOrder {
  private readonly last = new Map<string, Last>()
  private connection = 1

  /** The broker sends what it retains anew. */
  connected(): void {
    this.connection++
  }

  /** Whether a message on a retained topic is to be heard. `retained` is the flag that it came with. */
  accepts(topic: string, message: Message, retained: boolean): boolean {
    const before = this.last.get(topic)
    const next = positionOf(message)
    if (before) {
      const isLate = retained && before.liveOn === this.connection
      if (isOffline(message) ? isLate || isOfEarlierStart(next, before) : isLate && !isNewer(next, before)) return false
    }
    this.remember(topic, { ...next, liveOn: retained ? (before?.liveOn ?? 0) : this.connection })
    return true
  }

  /** A retained message was cleared: whatever comes next is taken, except what was retained before. */
  cleared(topic: string): void {
    this.remember(topic, { liveOn: this.connection })
  }

  private remember(topic: string, last: Last): void {
    if (!this.last.has(topic) && this.last.size >= maxTopics) this.last.delete(this.last.keys().next().value!)
    this.last.set(topic, last)
  }
}

const isOffline = ({ kind, payload }: Message): boolean =>
  (kind === 'state' || kind === 'server-state') && !payload.online

function positionOf({ payload }: Message): Position {
  const { boot, revision, at } = payload as { boot?: number; revision?: number; at?: string }
  const counter = boot ?? revision
  return { ...(counter !== undefined && { counter }), ...(at !== undefined && { at: Date.parse(at) }) }
}

/** By counter and time together: a counter may begin anew, and a clock may have been wrong. */
function isNewer(next: Position, before: Position): boolean {
  const [counter, counterBefore] = [next.counter ?? 0, before.counter ?? 0]
  if (counter < counterBefore) return false
  return next.at !== undefined && before.at !== undefined ? next.at > before.at : counter > counterBefore
}

function isOfEarlierStart(next: Position, before: Position): boolean {
  if ((next.counter ?? 0) >= (before.counter ?? 0)) return false
  return next.at === undefined || before.at === undefined || next.at <= before.at
}
