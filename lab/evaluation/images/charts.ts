import { colours } from '../../report/charts.ts'
import { type Mark, plot, type XY } from '../../report/plot.ts'
import { type Precision, workOf } from './cuts.ts'
import type { ImageEvaluation } from './evaluation.ts'
import { expenseOf } from './expense.ts'
import type { Link } from './links.ts'
import { ms } from './tables.ts'
import { overheadOf, waysOver } from './ways.ts'

export const costColours = {
  never: colours.local,
  always: colours.server,
  default: colours.hierarchical,
  calibrated: '#cc79a7',
  best: '#8a9099',
} as const

/** Cost per image against the price, for what the policies do at each. */
export function policyCostChart({ curves, policyCosts }: ImageEvaluation): string {
  const { never, always, best } = curves.cost
  const highest = Math.max(0.1, 1.4 * Math.max(never[0]!.y, always[0]!.y))
  const line = (points: readonly XY[], colour: string, width: number, dashed = false): Mark => ({
    kind: 'line',
    points,
    colour,
    width,
    dashed,
  })
  return plot({
    title: 'Cost per image against the price of an escalation',
    x: { label: 'price b of one escalation, in wrong answers', domain: [0, 0.6] },
    y: { label: 'cost per image', domain: [0, highest] },
    marks: [
      line(best, costColours.best, 1.4, true),
      line(never, costColours.never, 1.8),
      line(always, costColours.always, 1.8),
      line(policyCosts.calibrated, costColours.calibrated, 1.8),
      line(policyCosts.default, costColours.default, 2.4),
    ],
  })
}

export const cutColours = { float32: '#0072b2', uint8: '#56b4e9', both: colours.hierarchical } as const

/** Time to an answer over one link for every cut, from sending the image to keeping all on the device. */
export function cutChart(link: Link, evaluation: ImageEvaluation): string {
  const { cuts, device } = evaluation
  const points = (precision: Precision) =>
    cuts.map((cut, x) => ({
      x,
      y: expenseOf(workOf(cut, precision, overheadOf(evaluation)), link, device).latencyMs,
    }))
  const { both } = waysOver(link, evaluation)
  const [float32, uint8] = [points('float32'), points('uint8')]
  const all = [...float32, ...uint8, { y: both.latencyMs }].map(({ y }) => y)
  return plot({
    title: `${link.name}: time to an answer for every cut`,
    width: 340,
    height: 260,
    x: {
      label: 'cut after layer',
      domain: [-0.3, cuts.length - 0.7],
      ticks: cuts.map((_, i) => i).filter(i => i % Math.ceil(cuts.length / 8) === 0),
    },
    y: { label: 'ms', domain: [Math.min(...all) / 1.5, Math.max(...all) * 1.5], scale: 'log' },
    marks: [
      { kind: 'line', points: uint8, colour: cutColours.uint8, dashed: true },
      { kind: 'line', points: float32, colour: cutColours.float32 },
      ...float32.map(
        (at, i): Mark => ({
          kind: 'dot',
          at,
          colour: cutColours.float32,
          title: `${i}, after ${cuts[i]!.after}: ${ms(at.y)}`,
        }),
      ),
      { kind: 'rule', y: both.latencyMs, colour: cutColours.both, label: `HI, mean ${ms(both.latencyMs)}` },
    ],
  })
}
