import type { CommissioningResult } from '../evaluation/commissioning.ts'
import type { ReliabilityBin, SplitCurves } from '../evaluation/curves.ts'
import type { Method } from '../evaluation/decisions.ts'
import type { Row } from '../evaluation/rows.ts'
import type { ExampleSpectra } from '../evaluation/spectra.ts'
import { percent } from './figures.ts'
import { type Axis, type Mark, plot, type XY } from './plot.ts'

/** Okabe and Ito's colours, which people with colour-blindness tell apart. */
export const colours: Record<Method, string> = {
  local: '#0072b2',
  server: '#009e73',
  hierarchical: '#d55e00',
  rms: '#7a7f87',
}
export const classColours: Record<string, string> = {
  normal: '#7a7f87',
  ball: '#cc79a7',
  'inner-race': '#0072b2',
  'outer-race': '#d55e00',
}
const MUTED = '#8a9099'

const share = (label: string, domain: readonly [number, number] = [0, 1]): Axis => ({
  label,
  domain,
  format: value => `${Math.round(100 * value)} %`,
})

/** Accuracy over the share escalated as the threshold rises, and the straight line that escalating at random gives. */
export function escalationChart({ split, escalation, calibrated }: SplitCurves): string {
  const [first, last] = [escalation[0]!, escalation.at(-1)!]
  const lowest = Math.min(...escalation.map(point => point.y))
  const floor = Math.max(0, Math.floor(lowest * 20 - 0.5) / 20)
  return plot({
    title: `${split}: accuracy against escalated share`,
    x: share('escalated'),
    y: share('accuracy', [floor, 1]),
    marks: [
      { kind: 'line', points: [first, last], colour: MUTED, dashed: true, width: 1.2 },
      { kind: 'line', points: escalation, colour: colours.hierarchical, width: 2.2 },
      { kind: 'dot', at: first, colour: colours.local, title: `local ${percent(first.y)}` },
      { kind: 'dot', at: last, colour: colours.server, title: `server ${percent(last.y)}` },
      {
        kind: 'dot',
        at: calibrated,
        colour: colours.hierarchical,
        radius: 6,
        title: `calibrated: ${percent(calibrated.y)} at ${percent(calibrated.x)} escalated`,
      },
    ],
  })
}

/** Cost per window over the price of an escalation. */
export function costChart({ split, cost }: SplitCurves): string {
  const highest = Math.max(0.1, 1.4 * Math.max(...cost.never.map(point => point.y), cost.always[0]!.y))
  return plot({
    title: `${split}: cost against price`,
    x: { label: 'price b of one escalation, in wrong answers', domain: [0, 0.6] },
    y: { label: 'cost per window', domain: [0, highest] },
    marks: [
      { kind: 'line', points: cost.best, colour: MUTED, dashed: true, width: 1.4 },
      { kind: 'line', points: cost.never, colour: colours.local },
      { kind: 'line', points: cost.always, colour: colours.server },
      { kind: 'line', points: cost.calibrated, colour: colours.hierarchical, width: 2.4 },
    ],
  })
}

/** Bins with fewer windows than this show chance. */
export const FEWEST_IN_BIN = 20

/** How often answers of a confidence were right; on the diagonal a model means what it says. */
export function reliabilityChart({ split, reliability }: SplitCurves): string {
  const line = (every: readonly ReliabilityBin[], colour: string): Mark[] => {
    const bins = every.filter(bin => bin.windows >= FEWEST_IN_BIN)
    const points = bins.map(({ confidence, accuracy }) => ({ x: confidence, y: accuracy }))
    const all = bins.reduce((sum, bin) => sum + bin.windows, 0)
    const dots = bins.map(
      ({ windows }, i): Mark => ({
        kind: 'dot',
        at: points[i]!,
        colour,
        radius: 2.5 + 6 * Math.sqrt(windows / all),
        title: `${windows} windows: confident ${percent(points[i]!.x)}, right ${percent(points[i]!.y)}`,
      }),
    )
    return [{ kind: 'line', points, colour, width: 1.2 }, ...dots]
  }
  return plot({
    title: `${split}: reliability`,
    x: share('confidence', [0.2, 1.02]),
    y: share('right', [0, 1.02]),
    marks: [
      {
        kind: 'line',
        points: [
          { x: 0, y: 0 },
          { x: 1, y: 1 },
        ],
        colour: MUTED,
        dashed: true,
        width: 1.2,
      },
      ...line(reliability.server, colours.server),
      ...line(reliability.local, colours.local),
    ],
  })
}

/** Accuracy of the three on each split with its interval. */
export function overviewChart(rows: readonly Row[]): string {
  const splits = [...new Set(rows.map(row => row.split))]
  const named: Method[] = ['local', 'hierarchical', 'server']
  const offset = (method: Method) => (named.indexOf(method) - 1) * 0.22
  const marks = splits.flatMap((split, line) => {
    const at = splits.length - line
    const ofSplit = rows.filter(row => row.split === split && row.accuracy)
    return ofSplit.flatMap((row): Mark[] => {
      const { value, low, high } = row.accuracy!
      const y = at - offset(row.method)
      const bar: Mark[] =
        low === null || high === null
          ? []
          : [
              {
                kind: 'line',
                points: [
                  { x: low, y },
                  { x: high, y },
                ],
                colour: colours[row.method],
                width: 3,
              },
            ]
      return [
        ...bar,
        { kind: 'dot', at: { x: value, y }, colour: colours[row.method], radius: 5, title: percent(value) },
      ]
    })
  })
  return plot({
    title: 'Accuracy on every split',
    width: 900,
    height: 90 + 62 * splits.length,
    x: share('accuracy (bars: 95 % interval over recordings)'),
    y: {
      label: '',
      domain: [0.4, splits.length + 0.6],
      ticks: splits.map((_, line) => splits.length - line),
      format: () => '',
    },
    marks: [
      ...marks,
      ...splits.map(
        (split, line): Mark => ({
          kind: 'text',
          at: { x: 0.005, y: splits.length - line },
          text: split,
          anchor: 'start',
          dy: -6,
        }),
      ),
    ],
  })
}

/** A figure of each model over the noise added. */
export function noiseChart(rows: readonly Row[], label: string, figureOf: (row: Row) => number | null): string {
  const decibels = (row: Row) => Number.parseFloat(row.fold)
  const lines = (['local', 'hierarchical', 'server'] as const).flatMap((method): Mark[] => {
    const points = rows.filter(row => row.method === method).map(row => ({ x: decibels(row), y: figureOf(row) ?? 0 }))
    const dots = points.map((at): Mark => ({ kind: 'dot', at, colour: colours[method], title: percent(at.y) }))
    return [{ kind: 'line', points, colour: colours[method] }, ...dots]
  })
  const levels = [...new Set(rows.map(decibels))].sort((a, b) => a - b)
  return plot({
    title: `${label} against noise`,
    x: {
      label: 'signal over noise',
      domain: [levels[0]! - 1, levels.at(-1)! + 1],
      ticks: levels,
      format: value => `${value} dB`,
    },
    y: share(label),
    marks: lines,
  })
}

const TRACE_POINTS = 400

/** The learned level through the normal run and each fault's, with the limit the point set itself. */
export function commissioningChart({
  speed,
  traces,
  windowSeconds,
  learnedSeconds,
  limit,
}: CommissioningResult): string {
  const ordered = [...traces].sort((a, b) => Number(b.class === 'normal') - Number(a.class === 'normal'))
  const all = ordered.flatMap(trace => trace.values)
  const domain: [number, number] = [Math.min(...all) / 1.6, Math.max(...all) * 1.8]
  let start = 0
  const marks = ordered.flatMap(({ class: name, values }): Mark[] => {
    const from = start
    const seconds = values.length * windowSeconds
    start += seconds
    const points = thinned(values, windowSeconds, from)
    return [
      { kind: 'line', points, colour: classColours[name] ?? MUTED, width: 1.2 },
      { kind: 'text', at: { x: from + seconds / 2, y: domain[1] }, text: name, colour: classColours[name], dy: 12 },
      ...(from > 0 ? [{ kind: 'rule', x: from, colour: '#d5d9de' } as const] : []),
    ]
  })
  return plot({
    title: `Commissioning at ${speed}`,
    width: 900,
    height: 300,
    x: { label: 'seconds of recording, one run after the other', domain: [0, start] },
    y: { label: 'mean |x|', domain, scale: 'log' },
    marks: [
      { kind: 'band', from: 0, to: learnedSeconds, colour: '#e6f1f8', label: 'learned' },
      ...marks,
      ...(limit === null
        ? []
        : [
            {
              kind: 'rule',
              y: limit,
              colour: '#b3261e',
              dashed: true,
              label: `limit ${limit.toPrecision(2)}`,
            } as const,
          ]),
    ],
  })
}

/** Lowest and highest value of each stretch of time, so that no excursion is lost. */
function thinned(values: readonly number[], step: number, from: number): XY[] {
  const stretch = Math.max(1, Math.ceil((2 * values.length) / TRACE_POINTS))
  const points: XY[] = []
  for (let at = 0; at < values.length; at += stretch) {
    const part = values.slice(at, at + stretch)
    points.push(
      { x: from + at * step, y: Math.min(...part) },
      { x: from + (at + part.length / 2) * step, y: Math.max(...part) },
    )
  }
  return points
}

export function spectrumChart({ class: name, spectrum }: ExampleSpectra): string {
  return plot({
    title: `${name}: amplitude spectrum`,
    height: 210,
    x: { label: 'Hz', domain: [0, spectrum.at(-1)!.x] },
    y: { label: 'g', domain: [0, 1.08 * Math.max(...spectrum.map(point => point.y))] },
    marks: [{ kind: 'line', points: spectrum, colour: classColours[name] ?? MUTED, width: 1 }],
  })
}

const MARKED = '#9a6700'
/** Leaves room for two rows of labels above the largest line. */
const HIGHEST_SHARE = 1.3

export function envelopeChart({ class: name, envelope, marks }: ExampleSpectra): string {
  return plot({
    title: `${name}: envelope spectrum with defect frequencies`,
    height: 210,
    x: { label: 'orders of the shaft', domain: [0, envelope.at(-1)!.x] },
    y: { label: 'share of the largest', domain: [0, HIGHEST_SHARE], ticks: [0, 0.5, 1] },
    marks: [
      ...marks.map(({ order }): Mark => ({ kind: 'rule', x: order, colour: MARKED, dashed: true })),
      { kind: 'line', points: envelope, colour: classColours[name] ?? MUTED, width: 1 },
      ...marks.map(
        ({ name: text, order }, i): Mark => ({
          kind: 'text',
          at: { x: order + 0.08, y: HIGHEST_SHARE },
          text,
          colour: MARKED,
          anchor: 'start',
          dy: 9 + 13 * (i % 2),
        }),
      ),
    ],
  })
}
