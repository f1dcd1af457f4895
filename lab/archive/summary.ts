import { plainTable } from '../report/table.ts'
import { type Side, sides } from './division.ts'
import type { Export, ExportedWindow } from './export.ts'

/** What an export holds, and how often each model was right where a person knows. */
export function summaryOf({ task, windows, lost }: Export): string {
  const parts = [plainTable(labelTable(task, windows))]
  const judged = windows.filter(({ labelledBy }) => labelledBy === 'human')
  if (judged.length > 0) parts.push(plainTable(modelTable(judged)))
  const withoutSamples = windows.filter(({ file }) => !file).length
  if (withoutSamples > 0) parts.push(`${withoutSamples} windows have features only: they are in windows.csv alone.`)
  if (lost > 0) parts.push(`${lost} windows could not be read and were left out.`)
  const empty = sides.filter(side => !windows.some(window => window.side === side && window.file))
  if (empty.length > 0)
    parts.push(
      `No windows with samples on: ${empty.join(', ')}. There are too few machines, or another --seed divides them better.`,
    )
  return `${parts.join('\n\n')}\n`
}

function labelTable(task: string, windows: readonly ExportedWindow[]) {
  const count = (side: Side | undefined, label: string | undefined) => {
    const here = windows.filter(
      window => (side === undefined || window.side === side) && (label === undefined || window.label === label),
    )
    const human = here.filter(({ labelledBy }) => labelledBy === 'human').length
    return human > 0 ? `${here.length} (${human})` : String(here.length)
  }
  const labels = [...new Set(windows.map(({ label }) => label))].sort()
  const row = (name: string, label: string | undefined) => [
    name,
    ...sides.map(side => count(side, label)),
    count(undefined, label),
  ]
  const machinesOf = (side?: Side) =>
    new Set(
      windows.flatMap(({ side: own, window }) =>
        side === undefined || own === side ? `${window.site}/${window.machine}` : [],
      ),
    ).size
  return {
    title: `Windows of ${task} by label`,
    note: 'In brackets, those that a person has labelled; the label of the others is the last answer of a server.',
    head: ['label', ...sides, 'all'],
    rows: [
      ...labels.map(label => row(label, label)),
      row('all', undefined),
      ['machines', ...sides.map(side => String(machinesOf(side))), String(machinesOf())],
    ],
  }
}

function modelTable(judged: readonly ExportedWindow[]) {
  const rows = (['local', 'server', 'upstream', 'shadow'] as const).flatMap(role => {
    const answered = judged.filter(({ window }) => window[role])
    if (answered.length === 0) return []
    const right = answered.filter(({ label, window }) => window[role]!.label === label).length
    return [[role, String(answered.length), String(right), `${((100 * right) / answered.length).toFixed(1)} %`]]
  })
  return {
    title: 'Right, of the windows that a person has labelled',
    note: 'These are windows that devices escalated, hard ones: on all windows every model does better.',
    head: ['model', 'windows', 'right', 'share'],
    rows,
  }
}
