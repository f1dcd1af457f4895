import type { Costs } from '../dashboard/decision-tally.ts'
import type { Money } from '../dashboard/decisions-view.ts'
import { short, words } from './format.ts'

const rules: Readonly<Record<string, string>> = {
  default: 'Asks when the probability that it is wrong, as it estimates it, is above the price.',
  never: 'Asks about nothing but audits and invalid output.',
  always: 'Asks about every window.',
  random: 'Asks about a random share.',
  threshold: 'Asks when its confidence is below the threshold.',
  margin: 'Asks when the two likeliest classes are closer than the threshold.',
  entropy: 'Asks when the entropy of its answer is above the limit.',
  'logistic-top2': 'Asks by a fixed formula of the two likeliest classes.',
  relevance: 'Asks about everything that is not surely normal.',
  calibrated: 'Asks when the expected cost of accepting is above the price.',
  'hil-f': 'Learns a threshold from the truth of every window.',
  'hil-n': 'Learns a threshold from the windows it explores.',
  'hi-lcb': 'Asks until it has proven that its answers of this confidence are right often enough.',
  'hi-lcb-lite': 'Asks until it has proven that its answers of this confidence are right often enough.',
  h2t2: 'Learns two thresholds for the probability of a fault.',
}

/** How a policy decides, in a sentence; undefined for one that this version does not know. */
export const ruleOf = (policy: string | undefined): string | undefined => (policy ? rules[policy] : undefined)

/** Numbers of a decision that its price is made of. */
export const priceNumbers: readonly string[] = [
  'priceBytes',
  'priceEnergy',
  'priceServer',
  'bytes',
  'missedFault',
  'falseAlarm',
  'batteryFactor',
  'serverLoad',
]

const numberNames: Readonly<Record<string, string>> = {
  right: 'probability that it is right, cautiously',
  score: 'confidence',
  trust: 'trust in the server',
  checkRate: 'rate of checks',
  auditRate: 'rate of audits',
  expectedCost: 'expected cost of accepting',
  bound: 'proven share of right answers',
}

/** What a number of a decision is. */
export const numberText = (name: string): string =>
  numberNames[name] ?? words(name.replace(/([A-Z])/g, ' $1')).toLowerCase()

/** An amount in wrong answers, or in currency where the device has a price list. */
export function amount(value: number | null | undefined, money: Money | null): string {
  if (value === null || value === undefined) return '–'
  if (!money) return short(value)
  const sum = value * money.unit
  return `${sum > 0 && sum < 0.0001 ? '< 0.0001' : short(sum)} ${money.currency}`
}

/** Dearer than doing without the policy would have been, whatever audits leave open. */
export const isDear = (costs: Costs | null): boolean =>
  costs !== null && costs.ours > Math.min(costs.neverAtMost, costs.always)
