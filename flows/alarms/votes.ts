import type { Decider } from '@faultline/protocol'

/** What one window says about a machine. */
export interface Vote {
  /** Absent for windows that are known only from a summary. */
  id?: string
  /** Undefined when the window looked normal. */
  fault: string | undefined
  label: string
  at: string
  confidence: number | null
  decidedBy: Decider
  /** True once an alarm has counted it. */
  counted?: boolean
}

/** The last windows of one measurement point, in the order in which they arrived. */
export class Votes {
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
    vote.id = id
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

  clear(): void {
    this.votes = []
  }
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
