import type { Evaluation } from '../evaluation/evaluation.ts'
import { groupBy } from '../evaluation/group-by.ts'
import { alarms, methodNames, percent, whole, withInterval } from './figures.ts'
import { streamTable } from './streams.ts'

/** Everything that is measured, as plain tables. */
export function terminalReport(evaluation: Evaluation): string {
  const { rows, aims, commissioning, streams, notes, engines, seconds } = evaluation
  const parts: string[] = []
  for (const [split, group] of groupBy(rows, row => row.split)) {
    const table = group.map(row => [
      row.fold,
      methodNames[row.method],
      withInterval(row.accuracy),
      withInterval(row.macroF1),
      withInterval(row.detection),
      percent(row.missedFaultRate),
      alarms(row.falseAlarms),
      percent(row.escalated),
      whole(row.bytesPerWindow),
    ])
    const [first] = group
    parts.push(`${split} (${first!.models} models)`, aligned([headings, ...table]))
  }
  if (commissioning.length > 0)
    parts.push('Commissioning on UESTC, first 20 s of normal', commissioningTable(evaluation))
  if (streams.length > 0) {
    const { title, head, rows } = streamTable(evaluation)
    parts.push(title, aligned([head, ...rows]))
  }
  const verdicts = aims.map(({ aim, measured, met, missedBy }) => [
    aim,
    measured,
    met ? 'met' : `missed by ${missedBy}`,
  ])
  if (verdicts.length > 0) parts.push('Aims', aligned([['aim', 'measured', ''], ...verdicts]))
  parts.push(
    ...notes,
    `${seconds} s; local on ${engines.local}, server on ${engines.server}; intervals and bounds at 95 %`,
  )
  return `${parts.join('\n\n')}\n`
}

const headings = [
  'fold',
  'method',
  'accuracy',
  'macro F1',
  'fault or not',
  'missed faults',
  'false alarms',
  'escalated',
  'bytes/window',
]

function commissioningTable({ commissioning }: Evaluation): string {
  const table = commissioning.flatMap(({ speed, state, limit, faults, rest }) => [
    [
      speed,
      'normal',
      limit?.toPrecision(3) ?? state.phase,
      `${state.effectiveWindows} of ${state.windows}`,
      alarms(rest),
      '',
    ],
    ...faults.map(({ class: name, missed, worstDelaySeconds }) => [
      '',
      name,
      '',
      '',
      `${percent(missed)} missed`,
      worstDelaySeconds === null ? 'never' : `${worstDelaySeconds.toFixed(1)} s`,
    ]),
  ])
  return aligned([['speed', 'run', 'limit', 'independent windows', 'alarms', 'found within'], ...table])
}

/** Columns padded to their widest cell. */
export function aligned(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)))
  return rows
    .map(row =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('   ')
        .trimEnd(),
    )
    .join('\n')
}
