/** What a calibration looks at besides the predicted class. Order and meaning are part of the format of a fitted one. */
export const shapeNames = ['intercept', 'logit', 'lead', 'runner-up', 'entropy', 'top'] as const

/** With more classes than this, the predicted class is left out: too few answers of each to learn from. */
export const MOST_OFFSETS = 32

/** Beyond this a printed or quantised probability says nothing more. */
const SMALLEST = 1e-6

/**
 * A Gaussian prior of the weights, independent of each other.
 * Without labels the answer is believed to be right with sigma(0.7 logit(p1)): networks trained to fit are too sure of
 * themselves (Guo et al. 2017, arXiv 1706.04599, find softmax temperatures of about 1.5).
 */
export interface Prior {
  mean: readonly number[]
  deviation: readonly number[]
}

export function priorOf(offsets: number): Prior {
  const classes = new Array<number>(offsets)
  return {
    mean: [0, 0.7, 0, 0, 0, 0, ...classes.fill(0)],
    deviation: [1, 0.5, 0.25, 0.15, 0.5, 0.5, ...classes.map(() => 0.5)],
  }
}

/** Predicted classes that get a weight of their own, for a model of so many classes. */
export function offsetsFor(classes: number): number {
  return classes <= MOST_OFFSETS ? classes : 0
}

/**
 * One row of numbers for a valid answer: 1, logit of the largest probability p1, ln(p1 / p2) less that logit,
 * ln(p2 / p3), entropy as a share of the largest possible, p1, and one indicator per predicted class. Those that say
 * nothing new of two classes are 0 there. Renaming the classes renames the indicators and changes nothing else.
 */
export function featuresOf(probabilities: readonly number[], offsets: number): number[] {
  let [first, second, third] = [-1, -1, -1]
  let winner = 0
  let entropy = 0
  for (let i = 0; i < probabilities.length; i++) {
    const p = probabilities[i]!
    if (p > 0) entropy -= p * Math.log(p)
    if (p > first) {
      third = second
      second = first
      first = p
      winner = i
    } else if (p > second) {
      third = second
      second = p
    } else if (p > third) third = p
  }
  const top = within(first)
  const logit = Math.log(top / (1 - top))
  const several = probabilities.length > 2
  const row = [
    1,
    logit,
    several ? Math.log(top / within(second)) - logit : 0,
    several ? Math.log(within(second) / within(third)) : 0,
    several ? entropy / Math.log(probabilities.length) : 0,
    top,
  ]
  for (let i = 0; i < offsets; i++) row.push(i === winner ? 1 : 0)
  return row
}

function within(p: number): number {
  return Math.min(1 - SMALLEST, Math.max(SMALLEST, p))
}
