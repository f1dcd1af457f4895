import { page, section } from '../report/page.ts'
import { escaped, type Mark, plot } from '../report/plot.ts'
import { BEST_FIXED, type TraceEvaluation } from './evaluation.ts'
import { byCost, cellsOf, conditionsOf, headings } from './figures.ts'
import { COURSE_POINTS } from './replay.ts'

/** Colours that people with colour-blindness tell apart (Okabe and Ito), then the same dashed. */
const palette = ['#0072b2', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c6bb1', '#7a7f87']
const DEFAULT_COLOUR = '#d55e00'
const BEST_COLOUR = '#1c2430'

interface Stroke {
  colour: string
  dashed: boolean
  width: number
}

/** The evaluation of a trace as one page that asks for nothing from outside. */
export function traceReport(evaluation: TraceEvaluation): string {
  const { trace, options } = evaluation
  const names = [...options.policies, BEST_FIXED]
  const strokes = new Map(names.map((name, i) => [name, strokeOf(name, i)]))
  const prices = [...options.prices].sort((a, b) => a - b)
  return page(
    `Faultline: what if, ${trace}`,
    `<header><p class="brand">Faultline</p><h1>What would a policy have cost?</h1><p class="lead">${escaped(conditionsOf(evaluation))}</p></header>`,
    section(
      'Cost',
      'Wrong final answers plus the price of every escalation, per window. The black line is the best single threshold in hindsight.',
      legend(names, strokes),
      prices.length > 1 ? figure(costChart(evaluation, prices, strokes)) : '',
    ),
    section(
      'Regret',
      'Cost so far above that of the best single threshold on the same windows, in wrong answers. A line that levels off has stopped paying for what it does not know; one that falls does better than any single threshold.',
      legend(names, strokes),
      `<div class="pair">${prices.map(price => figure(regretChart(evaluation, price, strokes))).join('')}</div>`,
    ),
    ...prices.map(price => section(`Price ${price}`, '', table(evaluation, price))),
    section(
      'How it was measured',
      '',
      '<ul><li>Every policy sees the same windows in the same order and pays the same price; it hears the verdict of a window it escalated before the next one comes. <code>hil-f</code> hears the truth of accepted windows too, as its theory wants, which no device can give it.</li>',
      '<li>Brackets are 95 % intervals over the shuffles: they say how much order and lots matter, not how other data would come out.</li>',
      '<li>“Of best fixed” compares with a threshold that only hindsight knows. 1.000 is as good as that; below is better.</li></ul>',
    ),
  )
}

function costChart({ figures }: TraceEvaluation, prices: readonly number[], strokes: Map<string, Stroke>): string {
  const costs = (name: string) =>
    prices.map(price => ({ x: price, y: figures.find(row => row.policy === name && row.price === price)!.cost.value }))
  const scale = Math.max(...costs(BEST_FIXED).map(point => point.y))
  const span = prices.at(-1)! - prices[0]!
  return plot({
    title: 'Cost per window against price',
    width: 900,
    height: 380,
    x: {
      label: 'price of one escalation, in wrong answers',
      domain: [prices[0]! - span / 40, prices.at(-1)! + span / 40],
    },
    // What costs more than twice the best is out of the picture; the tables have it.
    y: { label: 'cost per window', domain: [0, 2 * scale || 1] },
    marks: [...strokes].map(([name, stroke]): Mark => ({ kind: 'line', points: costs(name), ...stroke })),
  })
}

function regretChart(evaluation: TraceEvaluation, price: number, strokes: Map<string, Stroke>): string {
  const rows = evaluation.figures.filter(row => row.price === price)
  const windows = evaluation.windows * (1 - evaluation.options.calibrate)
  const ends = rows.map(row => row.course.at(-1)!).sort((a, b) => a - b)
  // A few policies cost so much that all others would lie on one line.
  const highest = Math.max(1, ends[Math.floor(0.6 * (ends.length - 1))]! * 1.3)
  const lowest = Math.min(0, ...rows.flatMap(row => row.course))
  return plot({
    title: `Regret at price ${price}`,
    x: { label: `windows, at price ${price}`, domain: [0, windows] },
    y: { label: 'regret, in wrong answers', domain: [lowest - highest / 10, highest] },
    marks: rows.map(({ policy, course }): Mark => {
      const points = course.map((y, i) => ({ x: ((i + 1) / COURSE_POINTS) * windows, y }))
      return { kind: 'line', points: [{ x: 0, y: 0 }, ...points], ...strokes.get(policy)! }
    }),
  })
}

function strokeOf(name: string, index: number): Stroke {
  if (name === 'default') return { colour: DEFAULT_COLOUR, dashed: false, width: 3 }
  if (name === BEST_FIXED) return { colour: BEST_COLOUR, dashed: false, width: 1.6 }
  return { colour: palette[index % palette.length]!, dashed: Math.floor(index / palette.length) % 2 === 1, width: 1.6 }
}

function legend(names: readonly string[], strokes: Map<string, Stroke>): string {
  const items = names.map(name => {
    const { colour, dashed } = strokes.get(name)!
    const line = `border-top:3px ${dashed ? 'dashed' : 'solid'} ${colour};width:18px;height:0;border-radius:0;vertical-align:middle`
    return `<li><i style="${line}"></i>${escaped(name)}</li>`
  })
  return `<ul class="legend">${items.join('')}</ul>`
}

function table(evaluation: TraceEvaluation, price: number): string {
  const body = byCost(evaluation, price).map(row => {
    const strong = row.policy === 'default' ? ' class="together"' : ''
    return `<tr${strong}>${cellsOf(row)
      .map(cell => `<td>${escaped(cell)}</td>`)
      .join('')}</tr>`
  })
  const head = headings.map(name => `<th>${name}</th>`).join('')
  return `<div class="scroll"><table class="figures"><thead><tr>${head}</tr></thead><tbody>${body.join('')}</tbody></table></div>`
}

function figure(chart: string): string {
  return `<figure>${chart}</figure>`
}
