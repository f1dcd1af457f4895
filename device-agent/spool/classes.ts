import type { TopicKind } from '@faultline/protocol'

/**
 * What waits in the spool, in the order in which a full one gives it up, the last first. State, configuration and health
 * are not among them: only the newest is of any use, and that is made anew and sent first with every connection.
 */
export const spoolClasses = { result: 0, summary: 1, inference: 2, escalation: 3 } as const

export type SpoolClass = (typeof spoolClasses)[keyof typeof spoolClasses]

/** The class of a kind of message; of kinds that nobody spools, the one whose rules harm least. */
export function classOf(kind: TopicKind): SpoolClass {
  if (kind === 'command-result') return spoolClasses.result
  if (kind === 'escalation') return spoolClasses.escalation
  return kind === 'inference' ? spoolClasses.inference : spoolClasses.summary
}

/** A change of what is said outlives every repetition of it, however rarely those are kept. */
const notableFrom = 32

/**
 * Numbers the messages of each topic such that those of the least worth, taken away, leave every second one: worth is how
 * often the running number can be halved. A full spool thins out evenly over an outage, rather than forget its beginning.
 */
export class Thinning {
  private readonly counts = new Map<string, number>()

  worthOf(topic: string, notable: boolean): number {
    const key = notable ? `${topic}!` : topic
    const count = (this.counts.get(key) ?? 0) + 1
    this.counts.set(key, count)
    const halvings = 31 - Math.clz32(count & -count)
    return notable ? notableFrom + halvings : halvings
  }
}
