import { classificationOf, createPolicy, type PolicyModel } from '@faultline/inference'
import { classes } from './answers.ts'

/**
 * Share of windows that the price is to let through to the server, on the validation side. Less than the quarter aimed at, because a device
 * is less sure of what it never saw.
 */
const ESCALATED = 0.2

/** Random checks are left out: they cost little and would only blur a figure. */
const settings = { name: 'default', parameters: { checkBudget: 0 } }

/** What a fold or a bundle knows of when local answers will do. */
export type Known = Pick<PolicyModel, 'calibration' | 'server'>

/**
 * How probable the policy that devices start with, `default`, takes each local answer to be right, before any verdict taught it:
 * it escalates below 1 - price. Where a server's mistakes are known, 1 less what asking would save. NaN for an answer that
 * is none, which escalates.
 */
export function scoresOf(probabilities: Float32Array, known: Known): Float32Array {
  const policy = createPolicy(settings, known)
  return Float32Array.from({ length: probabilities.length / classes.length }, (_, row) => {
    const answer = Array.from(probabilities.subarray(row * classes.length, (row + 1) * classes.length))
    const { numbers } = policy.decide({ ...classificationOf(classes, answer), classes }, { price: 0 })
    const { right = Number.NaN, trust = 1 } = numbers
    return 1 - (1 - right) * trust
  })
}

/** The price of an escalation at which a fifth of these windows is escalated. */
export function priceFor(scores: Float32Array): number {
  const rising = Array.from(scores).sort((a, b) => a - b)
  return 1 - (rising[Math.floor(rising.length * ESCALATED)] ?? 1)
}
