/** What a model says about one window. */
export interface Classification {
  /** The most probable class. */
  label: string
  /** Its probability, 0..1. */
  confidence: number
  /** One probability per class, in the order of the bundle's `classes`. */
  probabilities: readonly number[]
}

/** Builds a classification from class probabilities; ties go to the earlier class. */
export function classificationOf(classes: readonly string[], probabilities: readonly number[]): Classification {
  let best = 0
  for (let i = 1; i < probabilities.length; i++) if (probabilities[i]! > probabilities[best]!) best = i
  return { label: classes[best] ?? '', confidence: probabilities[best] ?? Number.NaN, probabilities }
}

/**
 * True when a model's answer can be believed to be an answer at all: as many probabilities as classes, each finite
 * and within [0, 1], summing to one within 1e-3.
 */
export function isValid(probabilities: readonly number[], classes: number): boolean {
  if (probabilities.length !== classes || classes === 0) return false
  let sum = 0
  for (const p of probabilities) {
    if (!(p >= 0 && p <= 1)) return false
    sum += p
  }
  return Math.abs(sum - 1) <= 1e-3
}
