import type { Row } from './benchmark.ts'

/** The rows as an aligned table; figures with four significant digits, absent ones as a dash. */
export function tableOf(rows: readonly Row[]): string {
  const heads = ['case', 'metric', 'ours', 'reference', 'ratio', 'aim']
  const lines = rows.map(row => [
    row.case,
    row.metric,
    figure(row.ours),
    figure(row.reference),
    row.ratio === null ? '-' : row.ratio.toFixed(2),
    row.aim ?? '-',
  ])
  const widths = heads.map((head, column) => Math.max(head.length, ...lines.map(line => line[column]!.length)))
  const print = (line: string[]) =>
    line
      .map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd()
  return [heads, widths.map(width => '-'.repeat(width)), ...lines].map(print).join('\n')
}

function figure(value: number | null): string {
  if (value === null) return '-'
  return Math.abs(value) >= 1_000 ? String(Math.round(value)) : value.toPrecision(4)
}
