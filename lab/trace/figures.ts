import { percent, whole } from '../report/figures.ts'
import { aligned } from '../report/terminal.ts'
import type { TraceEvaluation } from './evaluation.ts'
import type { Mean } from './interval.ts'

/** One policy at one price, as `--json` writes it. */
export interface TraceRowFigures {
  policy: string
  price: number
  cost: number
  escalated: number
  accuracy: number
  regret: number
  ratio: number | null
  /** At 95 %, over the shuffles; absent with a single one. */
  intervals?: Record<'cost' | 'escalated' | 'accuracy' | 'regret', [low: number, high: number]>
}

export function rowsOf({ figures, ...about }: TraceEvaluation): Omit<TraceEvaluation, 'figures'> & {
  rows: TraceRowFigures[]
} {
  const rows = figures.map(({ policy, price, cost, escalated, accuracy, regret, ratio }): TraceRowFigures => {
    const all = { cost, escalated, accuracy, regret }
    const values = Object.entries(all).map(([name, { value }]) => [name, value])
    const ranges = Object.entries(all).map(([name, { low, high }]) => [name, [low, high]])
    return {
      policy,
      price,
      ...(Object.fromEntries(values) as Record<keyof typeof all, number>),
      ratio: ratio ?? null,
      ...(cost.low !== null && { intervals: Object.fromEntries(ranges) as TraceRowFigures['intervals'] }),
    }
  })
  return { ...about, rows }
}

/** What the figures rest on, in one paragraph. */
export function conditionsOf({ trace, windows, classes, localAccuracy, hasRemote, options }: TraceEvaluation): string {
  const { seeds, calibrate, inOrder } = options
  const labelled = Math.round(calibrate * windows)
  return [
    `${trace}: ${whole(windows)} windows of ${classes} classes, ${percent(localAccuracy, 2)} right locally.`,
    hasRemote ? 'The server says what the trace says.' : 'The server is taken to be always right.',
    labelled > 0
      ? `The first ${whole(labelled)} windows are labelled and only calibrate; costs are of the other ${whole(windows - labelled)}.`
      : 'Nothing is labelled beforehand.',
    inOrder ? `${seeds} runs in the order of the file.` : `${seeds} ${seeds === 1 ? 'shuffle' : 'shuffles'}.`,
  ].join(' ')
}

export const headings = ['policy', 'cost per window', 'of best fixed', 'regret', 'escalated', 'accuracy']

/** The cells of one policy, as text. */
export function cellsOf({
  policy,
  cost,
  ratio,
  regret,
  escalated,
  accuracy,
}: TraceEvaluation['figures'][number]): string[] {
  return [
    policy,
    ranged(cost),
    ratio === undefined ? '–' : ratio.toFixed(3),
    ranged(regret),
    percent(escalated.value),
    percent(accuracy.value, 2),
  ]
}

/** Policies at each price from the cheapest on, as plain tables. */
export function traceTable(evaluation: TraceEvaluation): string {
  const parts = [conditionsOf(evaluation)]
  for (const price of evaluation.options.prices) {
    const table = byCost(evaluation, price).map(cellsOf)
    parts.push(`price ${price}`, aligned([headings, ...table]))
  }
  parts.push('Brackets: 95 % intervals over the shuffles, for order and lots, not for other data.')
  return `${parts.join('\n\n')}\n`
}

export function byCost({ figures }: TraceEvaluation, price: number): TraceEvaluation['figures'] {
  return figures.filter(row => row.price === price).sort((a, b) => a.cost.value - b.cost.value)
}

function ranged({ value, low, high }: Mean): string {
  // Rounding is no reason for a minus before zero.
  const written = (number: number) => number.toFixed(4).replace(/^-(0\.0+)$/, '$1')
  const text = written(value)
  return low === null || high === null ? text : `${text} (${written(low)} to ${written(high)})`
}
