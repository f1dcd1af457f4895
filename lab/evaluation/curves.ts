import { costAt } from '../training/calibration.ts'
import { argmaxRows, rounded } from '../training/metrics.ts'
import { outcomesOf, type PairAnswers } from './pair.ts'

export interface Point {
  x: number
  y: number
}

/** What a split's answers look like at every threshold and price. */
export interface SplitCurves {
  split: string
  /** Accuracy against escalated share, one point a threshold from 0 to above 1. */
  escalation: Point[]
  /** Where the calibrated thresholds lie on it. */
  calibrated: Point
  /** Cost per window against the price of one escalation. */
  cost: { never: Point[]; always: Point[]; calibrated: Point[]; best: Point[] }
  /** Prices between which the calibrated pair is cheaper than both never and always escalating; null if there are none. */
  paysBetween: [number, number] | null
  reliability: { local: ReliabilityBin[]; server: ReliabilityBin[] }
}

/** Answers whose confidence fell into one tenth. */
export interface ReliabilityBin {
  confidence: number
  accuracy: number
  windows: number
}

const BINS = 10
const PRICES = Array.from({ length: 61 }, (_, i) => i / 100)
/** 1.01 escalates certainty too. */
const THRESHOLDS = [
  ...Array.from({ length: 99 }, (_, i) => i / 100),
  ...Array.from({ length: 20 }, (_, i) => 0.99 + i / 2_000),
  1,
  1.01,
]

/** What a pair said about the test side of one fold, and the threshold chosen without it. */
export interface Fold extends PairAnswers {
  split: string
  threshold: number
}

/** Curves of one split over all its folds, for a pair with so many classes. */
export function curvesOf(folds: readonly Fold[], classes: number): SplitCurves {
  const outcomes = folds.map(fold => outcomesOf(fold, classes))
  const all = outcomes.flat()
  const weighed = (price: number) => {
    const parts = folds.map((fold, i) => ({
      ...costAt(outcomes[i]!, fold.threshold, price),
      share: outcomes[i]!.length / all.length,
    }))
    const mean = (key: 'cost' | 'escalated' | 'accuracy') =>
      parts.reduce((sum, part) => sum + part[key] * part.share, 0)
    return { cost: mean('cost'), escalated: mean('escalated'), accuracy: mean('accuracy') }
  }
  const at = (costOf: (price: number) => number) => PRICES.map(price => ({ x: price, y: rounded(costOf(price)) }))
  const never = at(price => costAt(all, 0, price).cost)
  const always = at(price => costAt(all, 1.01, price).cost)
  const calibrated = at(price => weighed(price).cost)
  // Costs are straight lines in the price: each threshold needs counting once.
  const lines = THRESHOLDS.map(threshold => costAt(all, threshold, 0))
  const best = at(price => Math.min(...lines.map(({ cost, escalated }) => cost + price * escalated)))
  const paying = PRICES.filter((_, i) => calibrated[i]!.y < Math.min(never[i]!.y, always[i]!.y))
  const here = weighed(0)
  return {
    split: folds[0]!.split,
    escalation: lines.map(({ escalated, accuracy }) => ({ x: rounded(escalated), y: rounded(accuracy) })),
    calibrated: { x: rounded(here.escalated), y: rounded(here.accuracy) },
    cost: { never, always, calibrated, best },
    paysBetween: paying.length > 0 ? [paying[0]!, paying.at(-1)!] : null,
    reliability: { local: reliabilityOf(folds, 'local', classes), server: reliabilityOf(folds, 'server', classes) },
  }
}

function reliabilityOf(folds: readonly Fold[], model: 'local' | 'server', classes: number): ReliabilityBin[] {
  const bins = Array.from({ length: BINS }, () => ({ confidence: 0, right: 0, windows: 0 }))
  for (const fold of folds)
    for (const [row, answer] of argmaxRows(fold[model], classes).entries()) {
      const confidence = fold[model][row * classes + answer]!
      const bin = bins[Math.min(Math.floor(confidence * BINS), BINS - 1)]!
      bin.windows++
      bin.confidence += confidence
      if (answer === fold.labels[row]) bin.right++
    }
  return bins
    .filter(bin => bin.windows > 0)
    .map(({ confidence, right, windows }) => ({
      confidence: rounded(confidence / windows),
      accuracy: rounded(right / windows),
      windows,
    }))
}
