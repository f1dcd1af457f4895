/** How well predicted class numbers meet the true ones. */
export interface ClassificationMetrics {
  windows: number
  accuracy: number
  /** Mean over the classes present of the harmonic mean of precision and recall. */
  macroF1: number
  /** Share of each class' windows that were recognised; null where the class has none. */
  recall: Record<string, number | null>
  /** Share of normal windows read as any fault; null without normal windows. */
  falseAlarmRate: number | null
  /** Share of faulty windows read as normal; null without faulty windows. */
  missedFaultRate: number | null
  /** Rows are true classes, columns predicted ones. */
  confusion: number[][]
}

/** `normal` is the class number that means nothing is wrong. */
export function classificationMetrics(
  truth: ArrayLike<number>,
  predicted: ArrayLike<number>,
  classes: readonly string[],
  normal = 0,
): ClassificationMetrics {
  const confusion = classes.map(() => classes.map(() => 0))
  for (let i = 0; i < truth.length; i++) confusion[truth[i]!]![predicted[i]!]! += 1
  const total = (row: number) => confusion[row]!.reduce((a, b) => a + b, 0)
  const hits = classes.map((_, i) => confusion[i]![i]!)
  const columns = classes.map((_, i) => confusion.reduce((sum, row) => sum + row[i]!, 0))
  const present = classes.map((_, i) => i).filter(i => total(i) > 0)
  const f1 = present.map(i => (2 * hits[i]!) / (total(i) + columns[i]!))
  const windows = truth.length
  const normals = total(normal)
  const faults = windows - normals
  return {
    windows,
    accuracy: rounded(hits.reduce((a, b) => a + b, 0) / windows),
    macroF1: rounded(f1.reduce((a, b) => a + b, 0) / present.length),
    recall: Object.fromEntries(classes.map((name, i) => [name, total(i) ? rounded(hits[i]! / total(i)) : null])),
    falseAlarmRate: normals ? rounded(1 - hits[normal]! / normals) : null,
    missedFaultRate: faults ? rounded((columns[normal]! - hits[normal]!) / faults) : null,
    confusion,
  }
}

/** The most probable class of every row. */
export function argmaxRows(probabilities: Float32Array, classes: number): Uint8Array {
  const answers = new Uint8Array(probabilities.length / classes)
  for (let row = 0; row < answers.length; row++)
    for (let i = 1; i < classes; i++)
      if (probabilities[row * classes + i]! > probabilities[row * classes + answers[row]!]!) answers[row] = i
  return answers
}

/** Mean negative log-likelihood of the true classes. */
export function lossOf(probabilities: Float32Array, labels: Uint8Array, classes: number): number {
  let sum = 0
  for (const [i, label] of labels.entries()) sum -= Math.log(Math.max(probabilities[i * classes + label]!, 1e-7))
  return sum / labels.length
}

/** Mean over `bins` equal confidence bins of |accuracy - confidence|, weighted by windows (expected calibration error). */
export function calibrationError(probabilities: Float32Array, labels: Uint8Array, classes: number, bins = 10): number {
  const answers = argmaxRows(probabilities, classes)
  const gaps = new Float64Array(bins)
  for (const [row, label] of labels.entries()) {
    const confidence = probabilities[row * classes + answers[row]!]!
    const bin = Math.min(Math.floor(confidence * bins), bins - 1)
    gaps[bin] = gaps[bin]! + (answers[row] === label ? 1 : 0) - confidence
  }
  return rounded(gaps.reduce((sum, gap) => sum + Math.abs(gap), 0) / labels.length)
}

export function rounded(value: number): number {
  return Number(value.toFixed(4))
}
