import type { Inference, Summary } from '@faultline/protocol'
import { SummaryTally } from './summary-tally.ts'

export interface ReportSink {
  /** `notable`: it says something else than the one before. */
  inference(inference: Inference, notable: boolean): void
  summary(summary: Summary): void
}

/**
 * Which inferences of one point are published. `every`: all. `exception`: the first, those whose label, decision or
 * outcome differs from the last one published, revisions, and audits, which are counted one by one; the others are counted
 * in summaries. A window that is accepted with the label last published is none of them: otherwise every window that a
 * server confirms would be news twice.
 */
export class PointReporting {
  private readonly sink: ReportSink
  private mode: 'every' | 'exception'
  private readonly tally: SummaryTally
  private last: Pick<Inference, 'label' | 'decidedBy' | 'outcome'> | undefined

  constructor(machine: string, mode: 'every' | 'exception', sink: ReportSink) {
    this.sink = sink
    this.mode = mode
    this.tally = new SummaryTally(machine)
  }

  report(inference: Inference): void {
    if (inference.revises !== undefined) {
      this.sink.inference(inference, true)
      return
    }
    const notable = this.isNews(inference) || inference.reason === 'audit'
    if (!notable && this.mode === 'exception') this.tally.add(inference)
    else {
      this.last = inference
      this.sink.inference(inference, notable)
    }
  }

  private isNews({ label, decidedBy, outcome }: Inference): boolean {
    if (label !== this.last?.label) return true
    const accepted = outcome === 'accepted' && decidedBy === 'local'
    return !accepted && (decidedBy !== this.last.decidedBy || outcome !== this.last.outcome)
  }

  /** The next inference is published whatever it says. */
  renew(): void {
    this.last = undefined
  }

  setMode(mode: 'every' | 'exception'): void {
    if (mode === this.mode) return
    this.flush()
    this.mode = mode
    this.last = undefined
  }

  /** Publishes what was counted since the last time, if anything was. */
  flush(): void {
    const summary = this.tally.take()
    if (summary) this.sink.summary(summary)
  }
}
