import { setImmediate } from 'node:timers/promises'
import {
  Calibration,
  createPolicy,
  type PolicyModel,
  policyNames,
  Random,
  ServerTrust,
  type ServerTrustModel,
} from '@faultline/inference'
import { shuffle } from '../shuffle.ts'
import { type Mean, meanOf } from './interval.ts'
import { below, bestFixedThreshold, replay, type Tally, tally } from './replay.ts'
import { isLocalRight, type Trace, type TraceRow } from './trace.ts'

/** Not a policy: the best single threshold in hindsight, which regret is measured against. */
export const BEST_FIXED = 'best-fixed'

export interface TraceOptions {
  /** Names of policies; `best-fixed` comes with every run. */
  policies: readonly string[]
  prices: readonly number[]
  /** Shuffles of the windows, each with its own lots. */
  seeds: number
  /** Share of the windows that is labelled beforehand and only calibrates. */
  calibrate: number
  /** Leaves the windows as they came: seeds then change the lots alone. */
  inOrder?: boolean
  /** The class that means nothing is wrong, for the policies that ask. */
  normal: string
  onProgress?: (done: number, total: number, detail: string) => void
}

/** One policy at one price: means over the shuffles. */
export interface TraceFigures {
  policy: string
  price: number
  cost: Mean
  escalated: Mean
  accuracy: Mean
  /** Cost above that of the best fixed threshold on the same windows. */
  regret: Mean
  /** Mean cost over the mean cost of the best fixed threshold; undefined where that cost nothing. */
  ratio: number | undefined
  /** Mean of the regret summed up over the windows so far, at equal steps. */
  course: number[]
}

export interface TraceEvaluation {
  trace: string
  windows: number
  classes: number
  localAccuracy: number
  hasRemote: boolean
  options: Omit<TraceOptions, 'onProgress'>
  figures: TraceFigures[]
}

/** These choose their parameters by how many windows will come. */
const needHorizon = new Set(['hil-f', 'hil-n', 'h2t2'])

/** Replays a trace under policies and prices. Throws the coded errors of policies. */
export async function evaluateTrace(trace: Trace, { onProgress, ...options }: TraceOptions): Promise<TraceEvaluation> {
  const { policies, prices, seeds } = options
  const total = seeds * prices.length * policies.length
  const tallies = new Map<string, Tally[]>()
  const keep = (policy: string, price: number, tally: Tally) => {
    const key = `${policy} ${price}`
    tallies.set(key, [...(tallies.get(key) ?? []), tally])
  }
  let done = 0
  for (let seed = 0; seed < seeds; seed++) {
    const rows = options.inOrder ? trace.rows : shuffled(trace.rows, seed)
    const labelled = rows.slice(0, Math.round(options.calibrate * rows.length))
    const rest = rows.slice(labelled.length)
    const calibration = labelled.length > 0 ? calibrated(labelled, trace).model : undefined
    const server = trustFrom(labelled, trace)
    for (const price of prices) {
      keep(BEST_FIXED, price, tally(rest, price, below(bestFixedThreshold(rest, price))))
      const threshold = labelled.length > 0 ? Math.min(1, bestFixedThreshold(labelled, price)) : Math.max(0, 1 - price)
      const model: PolicyModel = { normal: options.normal, threshold, calibration, server }
      for (const name of policies) {
        const parameters = needHorizon.has(name) ? { horizon: rest.length } : {}
        keep(name, price, replay(createPolicy({ name, parameters }, model, seed), rest, price, trace))
        onProgress?.(++done, total, `${name} at ${price}`)
        // Lets a progress bar be drawn and Ctrl-C be heard.
        await setImmediate()
      }
    }
  }
  const figures = prices.flatMap(price => {
    const best = tallies.get(`${BEST_FIXED} ${price}`)!
    return [...policies, BEST_FIXED].map(policy => figuresOf(policy, price, tallies.get(`${policy} ${price}`)!, best))
  })
  return {
    trace: trace.name,
    windows: trace.rows.length,
    classes: trace.classes.length,
    localAccuracy: trace.rows.filter(isLocalRight).length / trace.rows.length,
    hasRemote: trace.hasRemote,
    options,
    figures,
  }
}

/** Policies as a command line names them: `all`, or names with commas between. Repetitions are left out. */
export function policiesOf(text: string): string[] {
  if (text === 'all') return [...policyNames]
  return [...new Set(text.split(',').map(name => name.trim()))]
}

export function calibrated(labelled: readonly TraceRow[], { classes }: Pick<Trace, 'classes'>): Calibration {
  const answers = labelled.map(row => ({ probabilities: row.local.probabilities, right: isLocalRight(row) }))
  return Calibration.fit(answers, { classes: classes.length })
}

/** Undefined for a server that is taken to be always right, and where the labels say too little of it. */
export function trustFrom(
  labelled: readonly TraceRow[],
  { classes, hasRemote }: Pick<Trace, 'classes' | 'hasRemote'>,
): ServerTrustModel | undefined {
  if (!hasRemote) return undefined
  const answers = labelled.map(({ local, remote, truth }) => ({ probabilities: local.probabilities, remote, truth }))
  return ServerTrust.fit(answers, { classes: classes.length })?.model
}

/** A copy of the rows in an order of its own for each seed. */
export function shuffled<T>(items: readonly T[], seed: number): T[] {
  return shuffle([...items], new Random(seed))
}

function figuresOf(policy: string, price: number, tallies: readonly Tally[], best: readonly Tally[]): TraceFigures {
  const cost = meanOf(tallies.map(tally => tally.cost))
  const bestCost = meanOf(best.map(tally => tally.cost)).value
  return {
    policy,
    price,
    cost,
    escalated: meanOf(tallies.map(tally => tally.escalated)),
    accuracy: meanOf(tallies.map(tally => tally.accuracy)),
    regret: meanOf(tallies.map((tally, seed) => tally.cost - best[seed]!.cost)),
    ratio: bestCost > 0 ? cost.value / bestCost : undefined,
    course: tallies[0]!.course.map(
      (_, point) => meanOf(tallies.map((tally, seed) => tally.course[point]! - best[seed]!.course[point]!)).value,
    ),
  }
}
