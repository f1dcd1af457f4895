import { Bins } from '../policies/bins.ts'

/** What an answer was given, and what came of it. */
export interface Outcome {
  /** Predicted probability of being right. */
  predicted: number
  right: boolean
}

export interface ReliabilityBin {
  /** Predictions from here; to the next bin's. */
  from: number
  count: number
  /** Means over the bin. */
  predicted: number
  accuracy: number
}

export interface Reliability {
  samples: number
  accuracy: number
  /** Mean |accuracy - predicted| over the bins, weighted by their counts (expected calibration error). */
  calibrationError: number
  /** Mean squared difference of prediction and outcome (Brier 1950). */
  brier: number
  /** Mean negative log-likelihood, in nats. */
  logLoss: number
  bins: ReliabilityBin[]
}

/**
 * How far predictions can be trusted. Bins hold equal counts, as far as equal predictions allow: with equal widths nearly
 * all answers of a good model would share the last one. Undefined without outcomes.
 */
export function reliabilityOf(outcomes: readonly Outcome[], bins = 15): Reliability | undefined {
  const count = outcomes.length
  if (count === 0) return undefined
  const mean = (figureOf: (outcome: Outcome) => number) =>
    outcomes.reduce((sum, outcome) => sum + figureOf(outcome), 0) / count
  const parts = binsOf(outcomes, bins)
  return {
    samples: count,
    accuracy: mean(({ right }) => Number(right)),
    calibrationError: parts.reduce((sum, bin) => sum + bin.count * Math.abs(bin.accuracy - bin.predicted), 0) / count,
    brier: mean(({ predicted, right }) => (predicted - Number(right)) ** 2),
    logLoss: mean(({ predicted, right }) => -Math.log(Math.max(right ? predicted : 1 - predicted, 1e-12))),
    bins: parts,
  }
}

function binsOf(outcomes: readonly Outcome[], count: number): ReliabilityBin[] {
  const bins = Bins.quantiles(
    outcomes.map(({ predicted }) => predicted),
    count,
    () => 1,
  )
  const found = Array.from({ length: bins.count }, (_, i) => ({
    from: i === 0 ? 0 : bins.edges[i - 1]!,
    count: 0,
    predicted: 0,
    accuracy: 0,
  }))
  for (const { predicted, right } of outcomes) {
    const bin = found[bins.indexOf(predicted)]!
    bin.count++
    bin.predicted += predicted
    bin.accuracy += Number(right)
  }
  return found
    .filter(bin => bin.count > 0)
    .map(bin => ({ ...bin, predicted: bin.predicted / bin.count, accuracy: bin.accuracy / bin.count }))
}
