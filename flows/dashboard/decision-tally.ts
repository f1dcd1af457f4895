import { type Inference, type Summary, upperBound } from '@faultline/protocol'
import type { InferenceRow } from '@faultline/telemetry'
import { escalatedIn, isEscalated } from './traffic.ts'

/** What a tally needs of a window: as a device publishes it, or as a store gives it back. */
export interface DecidedWindow {
  id: string
  /** ms since 1970. */
  at: number
  outcome: string
  reason: string
  local: { label: string; confidence: number | null }
  /** What stood instead while an episode held. */
  episode?: { label: string }
  server?: { label: string }
  price?: number
  revises?: string
}

export const windowOf = (inference: Inference): DecidedWindow => ({
  ...inference,
  at: Date.parse(inference.at),
  price: inference.numbers?.price,
})

export const windowOfRow = (row: InferenceRow): DecidedWindow => ({ ...row, at: row.time, price: row.numbers.price })

/** In wrong accepted answers, the server taken for the truth. */
export interface Costs {
  /** What was really done. */
  ours: number
  /** Had no window been escalated, and had every one. */
  never: number
  always: number
  /** `ours` and `never` at most, at 95 %, for what audits leave open. */
  oursAtMost: number
  neverAtMost: number
}

/** Windows of one range of the device's confidence that a server answered, and those in which it said the same. */
export interface ObservedBin {
  from: number
  to: number
  count: number
  /** Of them, windows that were audited. */
  audits: number
  confidence: number
  agreed: number
  /** The share that agreed lies between these, each with 95 %. */
  least: number
  most: number
}

const edges = [0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1] as const
/** A message that comes twice comes soon. */
const rememberedIds = 64

interface Bin {
  count: number
  audits: number
  agreed: number
  confidence: number
}

/** What came of the windows of one measurement point. */
export class DecisionTally {
  windows = 0
  escalated = 0
  answered = 0
  /** Of those answered, windows in which the server said something else than the device. */
  contradicted = 0
  /** Of windows that would have been accepted: answered ones, and those that the server contradicted. */
  audits = 0
  auditsWrong = 0
  /** Sums of the price: over all windows, and over those escalated. */
  private priceOfAll = 0
  private priceOfEscalated = 0
  /** Time of the first window, ms since 1970. */
  since = Number.POSITIVE_INFINITY
  private readonly ids: string[] = []
  private readonly bins: Bin[] = edges.slice(1).map(() => ({ count: 0, audits: 0, agreed: 0, confidence: 0 }))
  private price = 0

  count(window: DecidedWindow): void {
    if (this.ids.includes(`${window.id} ${window.revises}`)) return
    this.ids.push(`${window.id} ${window.revises}`)
    if (this.ids.length > rememberedIds) this.ids.shift()
    // A verdict after the deadline is of a window that was counted then.
    if (window.revises === undefined) this.countOutcome(window)
    if (window.server) this.countVerdict(window, window.server.label)
  }

  /** Windows that were not published one by one; their price is taken for that of the last one that was. */
  countSummary(summary: Summary): void {
    const { from, windows, outcomes } = summary
    const escalated = escalatedIn(summary)
    this.windows += windows
    this.escalated += escalated
    this.answered += outcomes.answered ?? 0
    this.priceOfAll += windows * this.price
    this.priceOfEscalated += escalated * this.price
    this.since = Math.min(this.since, Date.parse(from))
  }

  /** Null before the first window, and before the first answered audit: nothing is known then of what was accepted. */
  costs(): Costs | null {
    const { windows, escalated, answered, contradicted, audits, auditsWrong } = this
    if (windows === 0 || audits === 0) return null
    const accepted = windows - escalated
    const wrong = (auditsWrong / audits) * accepted
    const wrongAtMost = upperBound(auditsWrong, audits) * accepted
    const righted = answered > 0 ? (contradicted / answered) * escalated : 0
    return {
      ours: wrong + this.priceOfEscalated,
      never: wrong + righted,
      always: this.priceOfAll,
      oursAtMost: wrongAtMost + this.priceOfEscalated,
      neverAtMost: wrongAtMost + righted,
    }
  }

  observed(): ObservedBin[] {
    return this.bins.flatMap(({ count, audits, agreed, confidence }, i) => {
      if (count === 0) return []
      return {
        from: edges[i]!,
        to: edges[i + 1]!,
        count,
        audits,
        confidence: confidence / count,
        agreed: agreed / count,
        least: 1 - upperBound(count - agreed, count),
        most: upperBound(agreed, count),
      }
    })
  }

  private countOutcome({ at, outcome, price = this.price }: DecidedWindow): void {
    this.windows++
    this.priceOfAll += price
    if (isEscalated(outcome)) {
      this.escalated++
      this.priceOfEscalated += price
    }
    this.price = price
    this.since = Math.min(this.since, at)
  }

  private countVerdict({ reason, local, episode }: DecidedWindow, said: string): void {
    const agrees = local.label === said
    this.answered++
    if (!agrees) this.contradicted++
    if (reason === 'audit') {
      this.audits++
      if ((episode ?? local).label !== said) this.auditsWrong++
    }
    const { confidence } = local
    if (confidence === null) return
    const bin = this.bins[edges.slice(1, -1).filter(edge => confidence >= edge).length]!
    bin.count++
    bin.confidence += confidence
    if (agrees) bin.agreed++
    if (reason === 'audit') bin.audits++
  }
}
