import { ABSENT, percent, whole, withInterval } from '../../report/figures.ts'
import type { Table } from '../../report/table.ts'
import { SHIPPED_PRICE } from '../pair.ts'
import type { PriceRange } from './break-even.ts'
import { innerCuts, workOf } from './cuts.ts'
import { type ImageEvaluation, PRICES } from './evaluation.ts'
import { type Expense, expenseOf } from './expense.ts'
import { type Method, methods } from './methods.ts'
import { expenseOfMethod, overheadOf, rowOf, waysOver } from './ways.ts'

export const methodNames: Record<Method, string> = {
  never: 'never escalate',
  always: 'always escalate',
  partitioning: 'DNN partitioning',
  default: 'HI, default policy',
  calibrated: 'HI, calibrated threshold',
  'best-fixed': 'best threshold in hindsight',
}

/** Every figure, as tables. */
export function tablesOf(evaluation: ImageEvaluation): Table[] {
  const tables = [sideBySide(evaluation), costs(evaluation), escalations(evaluation), payingPrices(evaluation)]
  if (evaluation.cuts.length > 0) tables.push(latencies(evaluation), cutTable(evaluation))
  return [...tables, assumptions(evaluation)]
}

function shown({ cuts }: ImageEvaluation): Method[] {
  return methods.filter(method => method !== 'partitioning' || innerCuts(cuts).length > 0)
}

function sideBySide(evaluation: ImageEvaluation): Table {
  const { links } = evaluation
  const rows = shown(evaluation).map(method => {
    const row = rowOf(evaluation, method, SHIPPED_PRICE)
    const expenses = links.map(link => expenseOfMethod(row, link, evaluation))
    const bytes = [...new Set(expenses.map(expense => whole(expense.bytes)))]
    return [
      methodNames[method],
      withInterval(row.accuracy),
      percent(row.sent.value),
      bytes.join(' / '),
      row.cost.value.toFixed(4),
      ...expenses.map(latencyAndEnergy),
    ]
  })
  return {
    title: `Side by side at b = ${SHIPPED_PRICE}`,
    note: 'Means per image. Sent: share of images for which something goes up. Latency until the answer is there, and the energy the device spends on it, for each link. Partitioning with its best cut for the link.',
    head: ['method', 'accuracy', 'sent', 'bytes', 'cost', ...links.map(link => link.name)],
    rows,
    strong: [shown(evaluation).indexOf('default')],
  }
}

function costs(evaluation: ImageEvaluation): Table {
  const rows = shown(evaluation).map(method => [
    methodNames[method],
    ...PRICES.map(price => {
      const { value, low } = rowOf(evaluation, method, price).cost
      return low === null ? value.toFixed(4) : `${value.toFixed(4)} ± ${(value - low).toFixed(4)}`
    }),
  ])
  return {
    title: 'Cost against the price of an escalation',
    note: 'Wrong answers plus b for each image sent, per image, with the 95 % interval. Partitioning sends something for every image, so it costs what always escalating costs.',
    head: ['method', ...PRICES.map(price => `b = ${price}`)],
    rows,
    strong: [shown(evaluation).indexOf('default')],
  }
}

function escalations(evaluation: ImageEvaluation): Table {
  const names: Method[] = ['default', 'calibrated', 'best-fixed']
  return {
    title: 'Hierarchical inference at each price',
    head: ['method', 'b', 'accuracy', 'escalated', 'bytes per image'],
    rows: names.flatMap(method =>
      PRICES.map((price, i) => {
        const { accuracy, sent } = rowOf(evaluation, method, price)
        const name = i === 0 ? methodNames[method] : ''
        const bytes = whole(sent.value * evaluation.escalationBytes)
        return [name, String(price), withInterval(accuracy), withInterval(sent), bytes]
      }),
    ),
  }
}

function payingPrices({ pays, threshold }: ImageEvaluation): Table {
  const range = (found: PriceRange | null, digits: number) =>
    found ? [found.from.toFixed(digits), found.to.toFixed(digits)] : ['nowhere', '']
  return {
    title: 'Where hierarchical inference beats both never and always',
    note: 'The first by counting: it is the same rule at every b. The others choose anew at each b, tried in steps of 0.01 up to 0.6.',
    head: ['rule', 'from b', 'to b'],
    rows: [
      [`the bundle's threshold, ${threshold}`, ...range(pays.threshold, 3)],
      [methodNames.calibrated, ...range(pays.calibrated, 2)],
      [methodNames.default, ...range(pays.default, 2)],
    ],
  }
}

function latencies(evaluation: ImageEvaluation): Table {
  const rows = evaluation.links.map(link => {
    const { never, always, both, sent, cut, cutIn8Bits, whole } = waysOver(link, evaluation)
    const named = (found: typeof cut) => (found ? `${ms(found.latencyMs)}, after ${found.after}` : ABSENT)
    return [
      link.name,
      ms(never.latencyMs),
      ms(both.latencyMs),
      ms(sent.latencyMs),
      ms(always.latencyMs),
      named(cut),
      named(cutIn8Bits),
      ms(whole.latencyMs),
    ]
  })
  return {
    title: 'Time to an answer, and the best cut',
    note: 'Mean of hierarchical inference under the default policy, and an image it sends. The best cut is the fastest of those within the server’s network; to its sides the same network uncut, on the server (the image is sent) and on the device.',
    head: [
      'link',
      'never (local model)',
      'HI, mean',
      'HI, sent',
      'always (full offload)',
      'best cut',
      'best cut, 8 bits',
      'server network on the device',
    ],
    rows,
  }
}

function cutTable(evaluation: ImageEvaluation): Table {
  const { cuts, links, device } = evaluation
  const overhead = overheadOf(evaluation)
  const rows = cuts.map(cut => {
    const over = links.map(link => expenseOf(workOf(cut, 'float32', overhead), link, device))
    const rounded = links.map(link => expenseOf(workOf(cut, 'uint8', overhead), link, device))
    return [
      cut.after,
      cut.shapes.map(shape => shape.join(' x ')).join(' + '),
      cut.bytes ? whole(cut.bytes.float32) : '0',
      cut.bytes ? whole(cut.bytes.uint8) : '0',
      ms(cut.headMs * device.factor),
      ms(cut.tailMs),
      ...over.map(latencyAndEnergy),
      ...rounded.map(expense => ms(expense.latencyMs)),
      cut.agreement === null ? '' : percent(cut.agreement),
    ]
  })
  return {
    title: 'Every cut of the server’s network',
    note: 'A cut comes after the layer named, with what an engine makes one with it (normalisation, activation). Where branches run side by side a tensor of each crosses. Bytes are of what crosses, as float32 and rounded to 8 bits (the image itself is bytes). Same answer: share of test images that the network answers alike when 8 bits cross.',
    head: [
      'cut after',
      'shape',
      'bytes',
      'in 8 bits',
      'device',
      'server',
      ...links.map(link => link.name),
      ...links.map(link => `${link.name}, 8 bits`),
      'same answer',
    ],
    rows,
  }
}

function assumptions({ links, device, times, escalationBytes, imageBytes }: ImageEvaluation): Table {
  const rows = [
    ['local model', `${ms(times.localMs)} an image`, `measured, ${times.engine}, one core, batch 1`],
    ['server model', `${ms(times.serverMs)} an image`, `measured, ${times.engine}, one core, batch 1`],
    ['device', `${device.factor} times slower`, 'assumption for a Raspberry Pi 4: --device-factor'],
    ['device, computing', `${device.watts} W above idle`, 'assumption: --device-watts'],
    [
      'an escalation',
      `${whole(escalationBytes)} bytes`,
      `measured; ${whole(imageBytes)} of them the image, 8 bits a value`,
    ],
    ...links.map(({ name, megabitsPerSecond, roundTripMs, microjoulesPerByte, watts, source }) => [
      name,
      `${megabitsPerSecond} Mbit/s, ${roundTripMs} ms round trip, ${microjoulesPerByte} µJ a byte, ${watts} W while in use`,
      `rate and round trip stated; energy: ${source}`,
    ]),
  ]
  return { title: 'What the figures rest on', head: ['', 'value', 'from'], rows }
}

function latencyAndEnergy({ latencyMs, millijoules }: Expense): string {
  return `${ms(latencyMs)}, ${significant(millijoules)} mJ`
}

export function ms(value: number): string {
  return `${significant(value)} ms`
}

/** Three digits: more would be noise. */
function significant(value: number): string {
  if (value === 0) return '0'
  return value >= 100 ? whole(value) : value.toPrecision(value >= 1 ? 3 : 2)
}
