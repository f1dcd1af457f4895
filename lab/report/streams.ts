import type { Evaluation } from '../evaluation/evaluation.ts'
import type { Delay } from '../evaluation/streams.ts'
import { percent, whole } from './figures.ts'
import type { Table } from './table.ts'

/** How soon faults were noticed, and how often there was an alarm without one: the same for terminal and report. */
export function streamTable({ streams }: Pick<Evaluation, 'streams'>): Table {
  return {
    title: 'Streams: normal, then a fault',
    note: 'Each stream is a stretch of normal windows and then one run of a fault, to its end. Delays count from the onset: to the first window answered as faulty, and to the alarm, at 4 faulty windows of 6. Nuisance alarms are those of the normal stretches; “at most” is the daily rate that so short a stretch rules out at 95 %.',
    head: ['split', 'policy', 'streams', 'accuracy', 'escalated', 'first window', 'alarm', 'nuisance alarms'],
    rows: streams.map(({ split, models, method, streams, accuracy, escalated, firstWindow, alarm, nuisance }) => [
      `${split} (${models})`,
      method,
      String(streams),
      percent(accuracy),
      percent(escalated),
      written(firstWindow),
      `${written(alarm)}${nuisance.onAtOnset > 0 ? `, on before in ${nuisance.onAtOnset}` : ''}`,
      `${nuisance.alarms} in ${whole(nuisance.seconds)} s: ${whole(nuisance.perDay)} a day, at most ${whole(nuisance.perDayAtMost)}`,
    ]),
  }
}

function written({ median, worst, never }: Delay): string {
  const seconds = (value: number | null) => (value === null ? '–' : `${value.toFixed(1)} s`)
  return `${seconds(median)}, at worst ${seconds(worst)}${never > 0 ? `, never in ${never}` : ''}`
}
