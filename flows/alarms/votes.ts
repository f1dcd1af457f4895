import { FaultlineError, type Inference, identifierPattern, type Summary, unknownLabel } from '@faultline/protocol'
import type { AlarmRuleOptions } from './alarm-options.ts'
import type { Evidence } from './lifecycle.ts'

/** What one window says about a machine. */
export interface Vote {
  /** Absent for windows that are known only from a summary. */
  id?: string
  /** The fault it shows. A window may be neither faulty nor normal: it was not sure enough for either. */
  fault: string | undefined
  normal: boolean
  /** Absent, as the id. */
  evidence?: Omit<Evidence, 'device' | 'point'>
  /** True once an alarm has counted it. */
  counted?: boolean
}

/** The last windows of one measurement point, in the order in which they arrived. */
export class Votes {
  /** The fault the point has shown for long enough but for the delay, and since when (ms since 1970). */
  suspicion: { fault: string; since: number } | undefined
  /** Since when it has been normal, but for the delay. */
  settledSince: number | undefined
  private readonly capacity: number
  private votes: Vote[] = []
  /** Windows nobody could classify; remembered because a late verdict may still make votes of them. */
  private abstained: string[] = []

  constructor(capacity: number) {
    this.capacity = capacity
  }

  add(vote: Vote): void {
    this.votes.push(vote)
    if (this.votes.length > this.capacity) this.votes.shift()
  }

  abstain(id: string): void {
    this.abstained.push(id)
    if (this.abstained.length > this.capacity) this.abstained.shift()
  }

  /** QoS 1 delivers at least once: a window that was seen before has no second vote. */
  has(id: string): boolean {
    return this.abstained.includes(id) || this.votes.some(vote => vote.id === id)
  }

  /**
   * Puts the vote in the place of the one it revises. Returns the vote replaced; `abstained` when there was none to
   * replace and the vote was added; undefined when the window is too old to matter.
   */
  revise(id: string, vote: Vote): Vote | 'abstained' | undefined {
    const index = this.votes.findIndex(candidate => candidate.id === id)
    const previous = this.votes[index]
    if (previous) {
      this.votes[index] = vote
      return previous
    }
    if (!this.abstained.includes(id)) return undefined
    this.abstained = this.abstained.filter(candidate => candidate !== id)
    this.add(vote)
    return 'abstained'
  }

  /** The newest `count` votes, oldest first. */
  last(count: number): readonly Vote[] {
    return this.votes.slice(-count)
  }

  /** The clock was set: what has lasted a while has lasted as long. */
  shift(ms: number): void {
    if (this.suspicion) this.suspicion.since += ms
    if (this.settledSince !== undefined) this.settledSince += ms
  }

  clear(): void {
    this.votes = []
    this.suspicion = undefined
    this.settledSince = undefined
  }
}

/** What a window says, under the id of the window it is about. Throws `IDENTIFIER_INVALID` when its label names no alarm. */
export function voteOf(inference: Inference, options: AlarmRuleOptions): Vote {
  const { at, label, confidence, decidedBy, local, server, features } = inference
  const id = inference.revises ?? inference.id
  return {
    id,
    ...opinion(label, confidence ?? 0, options),
    evidence: {
      id,
      at,
      label,
      confidence,
      decidedBy,
      local: { label: local.label, confidence: local.confidence },
      ...(server && { server: { label: server.label, confidence: server.confidence } }),
      features,
    },
  }
}

/** A summary of more windows than this is as good as one of so many. */
const maxSummaryVotes = 10_000

/**
 * The windows that a device did not publish one by one, spread evenly because their order is not known. Their mean
 * confidence stands for that of each.
 */
export function* votesOf(summary: Summary, options: AlarmRuleOptions): Generator<Vote> {
  const { [unknownLabel]: _, ...labels } = summary.labels
  for (const label of spread(labels, maxSummaryVotes)) yield opinion(label, summary.confidence?.mean ?? 1, options)
}

function opinion(label: string, confidence: number, { normal, on, off }: AlarmRuleOptions): Vote {
  if (label === normal) return { fault: undefined, normal: confidence >= off.confidence }
  const fault = faultName(label)
  return { fault: confidence >= on.confidence ? fault : undefined, normal: false }
}

/** A class as the last level of an alarm's topic: `Inner race` becomes `inner-race`. Throws `IDENTIFIER_INVALID`. */
export function faultName(label: string): string {
  const name = label
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63)
  if (identifierPattern.test(name)) return name
  throw new FaultlineError('IDENTIFIER_INVALID', `the class "${label}" cannot name an alarm: it has no letter or digit`)
}

/** The fault most votes name; the one named last when several are level. Undefined when none is named. */
export function mostFrequentFault(votes: readonly Vote[]): string | undefined {
  const counts = new Map<string, number>()
  let winner: string | undefined
  for (const { fault } of votes) {
    if (fault === undefined) continue
    const count = (counts.get(fault) ?? 0) + 1
    counts.set(fault, count)
    if (winner === undefined || count >= counts.get(winner)!) winner = fault
  }
  return winner
}

/** Labels in turn, each as often as counted (all scaled down alike above `limit`), none bunched together. */
function* spread(counts: Record<string, number>, limit: number): Generator<string> {
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0)
  const entries = Object.entries(counts).map(([label, count]) => ({ label, share: count / total, given: 0 }))
  for (let step = 1; step <= Math.min(total, limit); step++) {
    const next = entries.reduce((most, entry) =>
      entry.share * step - entry.given > most.share * step - most.given ? entry : most,
    )
    next.given++
    yield next.label
  }
}
