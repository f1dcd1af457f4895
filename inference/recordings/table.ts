import { isWord, momentIn, numberIn } from './cells.ts'
import { timeUnitOf } from './column-names.ts'
import { type Grid, isComment, type Marks, marksOf } from './separators.ts'
import { cellsIn, type Head, headOf } from './table-head.ts'
import { areSeconds, clockTimes, type Timing, timingOf } from './time-column.ts'

/** Rows whose times are looked at for their digits. */
const maxResolutionRows = 50

/** Columns of numbers from a text file. */
export interface Table {
  columns: readonly TableColumn[]
  /** Columns of time among them, by number. */
  timeColumns: readonly number[]
  /** What the file says of its sampling rate: its time column, or a line above the rows. */
  timing?: Timing
}

export interface TableColumn {
  name: string
  unit?: string
  /** What is no number is NaN. */
  values: Float64Array
  /** The first cell that is half a number, with its line. */
  fault?: string
}

/**
 * Reads a text table by its contents: separators, decimal marks, comments, preambles, names and units of columns are
 * found out. Throws where they contradict each other, with the line and the cell.
 */
export function readTable(text: string, given: Partial<Marks> = {}): Table {
  const lines = text.split(/\r\n|\n|\r/)
  // Excel's own way to name a separator; what is in the rows says the same.
  if (/^"?sep=.{1,2}$/i.test(lines[0] ?? '')) lines[0] = ''
  const grid = marksOf(lines, given)
  const head = headOf(lines, grid)
  const columns = columnsOf(lines, head, grid)
  const { timeColumns, times, resolution } = timesOf(
    columns,
    head,
    lines.slice(head.firstRow, head.firstRow + maxResolutionRows),
    grid,
  )
  const timing = times && timingOf(times, resolution)
  if (timing && head.rateHz !== undefined) checkRates(timing.rateHz, head.rateHz)
  if (timing) return { columns, timeColumns, timing }
  return { columns, timeColumns, ...(head.rateHz !== undefined && { timing: { rateHz: head.rateHz, gaps: [] } }) }
}

function checkRates(timesHz: number, headHz: number): void {
  if (Math.abs(timesHz - headHz) > 0.01 * headHz)
    throw new Error(`was recorded at ${timesHz} Hz by its time column, at ${headHz} Hz by the lines above the rows`)
}

function columnsOf(lines: readonly string[], { names, firstRow }: Head, grid: Grid): TableColumn[] {
  const columns = names.map(({ name, unit }) => ({
    name,
    ...(unit !== undefined && { unit }),
    values: new Float64Array(lines.length - firstRow),
  })) as TableColumn[]
  let rows = 0
  for (let at = firstRow; at < lines.length; at++) {
    const line = lines[at]!
    if (line.trim() === '' || isComment(line)) continue
    const cells = cellsIn(line, grid)
    if (cells.length !== columns.length)
      throw new Error(
        `line ${at + 1} has ${cells.length} cells, the rows before have ${columns.length}: ${JSON.stringify(line.slice(0, 80))}`,
      )
    for (const [i, column] of columns.entries()) {
      const cell = cells[i]!
      const value = numberIn(cell, grid.decimal) ?? momentIn(cell)
      if (value === undefined && !isWord(cell))
        column.fault ??= `line ${at + 1}, cell ${i + 1}: ${JSON.stringify(cell)} is no number with the decimal mark "${grid.decimal}" of the other rows`
      column.values[rows] = value ?? Number.NaN
    }
    rows++
  }
  for (const column of columns) column.values = column.values.subarray(0, rows)
  return columns
}

function timesOf(
  columns: readonly TableColumn[],
  { named, names }: Head,
  rows: readonly string[],
  grid: Grid,
): { timeColumns: number[]; times?: ArrayLike<number>; resolution: number } {
  const clock = columns.slice(0, 4).map(({ values }) => values)
  const times = columns.length > 4 && (!named || /^h(our)?s?$/i.test(names[0]!.name)) ? clockTimes(clock) : undefined
  if (times) return { timeColumns: [0, 1, 2, 3], times, resolution: 1e-6 }
  const index = named
    ? names.findIndex(name => timeUnitOf(name) !== undefined)
    : columns.length > 1 && areSeconds(columns[0]!.values)
      ? 0
      : -1
  const column = columns[index]
  if (!column) return { timeColumns: [], resolution: 0 }
  const timeColumns = names.flatMap((name, i) => ((named ? timeUnitOf(name) !== undefined : i === index) ? [i] : []))
  if (column.fault) throw new Error(column.fault)
  // A LabVIEW file without times has the column all the same.
  if (!column.values.some(Number.isFinite)) return { timeColumns, resolution: 0 }
  const cells = rows.map(row => cellsIn(row, grid)[index] ?? '').filter(cell => !isWord(cell))
  const isMoment = cells.some(cell => numberIn(cell, grid.decimal) === undefined)
  const scale = isMoment || !named ? 1 : timeUnitOf(names[index]!)!
  return {
    timeColumns,
    times: column.values.map(value => value * scale),
    resolution: Math.min(...cells.map(cell => resolutionOf(cell, grid.decimal))) * scale,
  }
}

/** What a number was rounded to, as its digits show. */
function resolutionOf(cell: string, decimal: string): number {
  const [mantissa = '', exponent = '0'] = cell.toLowerCase().split('e')
  const mark = Math.max(mantissa.lastIndexOf(decimal), mantissa.lastIndexOf('.'), mantissa.lastIndexOf(','))
  const decimals = mark < 0 ? 0 : mantissa.slice(mark + 1).replace(/\D.*$/, '').length
  return 10 ** (Number(exponent || 0) - decimals)
}
