import type { Inference, Range, Summary } from '@faultline/protocol'
import { rounded } from '../decisions/assessment.ts'

/** Minimum, mean and maximum of numbers as they come. */
class RangeTally {
  private min = Number.POSITIVE_INFINITY
  private max = Number.NEGATIVE_INFINITY
  private sum = 0
  count = 0

  add(value: number): void {
    this.min = Math.min(this.min, value)
    this.max = Math.max(this.max, value)
    this.sum += value
    this.count++
  }

  get range(): Range {
    return { min: this.min, mean: rounded(this.sum / this.count), max: this.max }
  }
}

/** Counts the inferences of one point that are not published one by one. */
export class SummaryTally {
  private readonly machine: string
  private from = new Date()
  private windows = 0
  // A class may be called like something that every object has.
  private faults: false | undefined
  private labels = new Map<string, number>()
  private outcomes: Summary['outcomes'] = {}
  private confidence = new RangeTally()
  private features = new Map<string, RangeTally>()

  constructor(machine: string) {
    this.machine = machine
  }

  add({ label, outcome, confidence, features, faults }: Inference): void {
    this.windows++
    this.faults = faults
    this.labels.set(label, (this.labels.get(label) ?? 0) + 1)
    this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1
    if (confidence !== null) this.confidence.add(confidence)
    for (const [name, value] of Object.entries(features)) {
      const tally = this.features.get(name) ?? new RangeTally()
      tally.add(value)
      this.features.set(name, tally)
    }
  }

  /** The summary since the last one, and begins anew; undefined when there was no window. */
  take(): Summary | undefined {
    const to = new Date()
    const summary: Summary | undefined =
      this.windows === 0
        ? undefined
        : {
            from: this.from.toISOString(),
            to: to.toISOString(),
            machine: this.machine,
            windows: this.windows,
            labels: Object.fromEntries(this.labels),
            outcomes: this.outcomes,
            ...(this.confidence.count > 0 && { confidence: this.confidence.range }),
            features: Object.fromEntries([...this.features].map(([name, tally]) => [name, tally.range])),
            ...(this.faults === false && { faults: false as const }),
          }
    this.from = to
    this.windows = 0
    this.labels = new Map()
    this.outcomes = {}
    this.confidence = new RangeTally()
    this.features = new Map()
    return summary
  }
}
