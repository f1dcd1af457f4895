/** What a model says about one window. */
export interface Classification {
  /** The most probable class. */
  label: string
  /** Its probability, 0..1. */
  confidence: number
  /** One probability per class, in the order of the bundle's `classes`. */
  probabilities: readonly number[]
}

/** Twenty trees of 0.05 each add up to 1.0000001 in 32 bits: as far from a probability a number may be, alone or in sum. */
const tolerance = 1e-3

/** What is a probability but for rounding becomes one. */
const clamped = (p: number): number => (p >= -tolerance && p <= 1 + tolerance ? Math.min(1, Math.max(0, p)) : p)

/** Builds a classification from class probabilities, those a rounding error outside 0..1 brought back into it; ties go to the earlier class. */
export function classificationOf(classes: readonly string[], given: readonly number[]): Classification {
  const probabilities = given.map(clamped)
  let best = 0
  for (let i = 1; i < probabilities.length; i++) if (probabilities[i]! > probabilities[best]!) best = i
  return { label: classes[best] ?? '', confidence: probabilities[best] ?? Number.NaN, probabilities }
}

/**
 * True when a model's answer can be believed to be an answer at all: as many probabilities as classes, each finite
 * and within [0, 1], summing to one, both within 1e-3.
 */
export function isValid(probabilities: readonly number[], classes: number): boolean {
  if (probabilities.length !== classes || classes === 0) return false
  let sum = 0
  for (const p of probabilities) {
    if (!(p >= -tolerance && p <= 1 + tolerance)) return false
    sum += p
  }
  return Math.abs(sum - 1) <= tolerance
}
