import { Calibration, type CalibrationModel, type ReliabilityTable } from '@faultline/inference'
import { argmaxRows, lossOf, rounded } from './metrics.ts'

/** Probabilities after dividing their logarithms by `temperature`, which is what scaling a softmax's logits does. */
export function temper(probabilities: Float32Array, classes: number, temperature: number): Float32Array {
  const tempered = new Float32Array(probabilities.length)
  for (let row = 0; row < probabilities.length; row += classes) {
    let sum = 0
    for (let i = row; i < row + classes; i++) {
      tempered[i] = Math.max(probabilities[i]!, 1e-30) ** (1 / temperature)
      sum += tempered[i]!
    }
    for (let i = row; i < row + classes; i++) tempered[i] = tempered[i]! / sum
  }
  return tempered
}

/**
 * The softmax temperature with the lowest negative log-likelihood on held-out answers, within `lowest` to 8, found by
 * golden-section search on its logarithm (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2).
 * @param lowest 1 unless there is better evidence: held-out recordings of the same defects cannot show that more
 *   confidence is deserved.
 */
export function fitTemperature(probabilities: Float32Array, labels: Uint8Array, classes: number, lowest = 1): number {
  const ratio = (Math.sqrt(5) - 1) / 2
  const loss = (logTemperature: number) =>
    lossOf(temper(probabilities, classes, Math.exp(logTemperature)), labels, classes)
  let [low, high] = [Math.log(lowest), Math.log(8)]
  while (high - low > 1e-3) {
    const [a, b] = [high - ratio * (high - low), low + ratio * (high - low)]
    if (loss(a) < loss(b)) high = b
    else low = a
  }
  return Math.exp((low + high) / 2)
}

/**
 * What a local model's bundle carries as `calibration.correctness`: how probable it is that an answer is right.
 * @param probabilities As the device will see them, after the temperature, of windows that trained nothing; row after row.
 */
export function fitCorrectness(probabilities: Float32Array, labels: Uint8Array, classes: number): CalibrationModel {
  const answers = argmaxRows(probabilities, classes)
  const labelled = Array.from(labels, (label, row) => ({
    probabilities: Array.from(probabilities.subarray(row * classes, (row + 1) * classes)),
    right: answers[row] === label,
  }))
  return Calibration.fit(labelled, { classes }).model
}

/** How often answers of a given confidence were right, in equal bins of confidence (Guo et al. 2017, section 2). */
export function reliabilityOf(
  probabilities: Float32Array,
  labels: Uint8Array,
  classes: number,
  bins = 10,
): ReliabilityTable {
  const answers = argmaxRows(probabilities, classes)
  const counts = Array.from({ length: bins }, () => ({ count: 0, confidence: 0, right: 0 }))
  for (const [row, label] of labels.entries()) {
    const confidence = Math.min(probabilities[row * classes + answers[row]!]!, 1)
    const bin = counts[Math.min(Math.floor(confidence * bins), bins - 1)]!
    bin.count++
    bin.confidence += confidence
    if (answers[row] === label) bin.right++
  }
  const right = counts.reduce((sum, bin) => sum + bin.right, 0)
  const gaps = counts.reduce((sum, bin) => sum + Math.abs(bin.right - bin.confidence), 0)
  return {
    samples: labels.length,
    accuracy: rounded(right / labels.length),
    calibrationError: rounded(gaps / labels.length),
    bins: counts.flatMap(({ count, confidence, right }, i) =>
      count === 0
        ? []
        : [
            {
              from: rounded(i / bins),
              to: rounded((i + 1) / bins),
              count,
              confidence: rounded(confidence / count),
              accuracy: rounded(right / count),
            },
          ],
    ),
  }
}

/** One window as hierarchical inference sees it. */
export interface Outcome {
  confidence: number
  localRight: boolean
  serverRight: boolean
}

/** What escalating every window below `threshold` would have cost, in wrong answers and escalations per window. */
export function costAt(outcomes: readonly Outcome[], threshold: number, price: number) {
  let [escalated, wrong] = [0, 0]
  for (const { confidence, localRight, serverRight } of outcomes) {
    const up = confidence < threshold
    if (up) escalated++
    if (!(up ? serverRight : localRight)) wrong++
  }
  const count = Math.max(outcomes.length, 1)
  return { escalated: escalated / count, accuracy: 1 - wrong / count, cost: (wrong + price * escalated) / count }
}

/** The threshold, in steps of 0.01, with the lowest cost at `price`; of equals, the one that escalates least. */
export function chooseThreshold(outcomes: readonly Outcome[], price: number): number {
  let best = { threshold: 0, cost: Number.POSITIVE_INFINITY }
  for (let step = 0; step <= 100; step++) {
    const { cost } = costAt(outcomes, step / 100, price)
    if (cost < best.cost - 1e-12) best = { threshold: step / 100, cost }
  }
  return best.threshold
}
