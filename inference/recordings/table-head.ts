import { isWord, momentIn, numberIn } from './cells.ts'
import { type ColumnName, columnName, plainUnit, unitRow } from './column-names.ts'
import { cellsOf, type Grid, isComment } from './separators.ts'

/** What stands above the rows of a table. */
export interface Head {
  /** One for each column; numbers where the file has no names. */
  names: readonly ColumnName[]
  named: boolean
  /** The line of the first row, from 0. */
  firstRow: number
  /** The sampling rate, where a line above the rows states it. */
  rateHz?: number
}

/** Finds the first row and what the lines above it say. Throws where a head has fewer names than the rows have cells. */
export function headOf(lines: readonly string[], grid: Grid): Head {
  const like = lastRow(lines, grid)
  const firstRow = lines.findIndex(line => isRow(line, like, grid))
  const above = lines.slice(0, firstRow).filter(line => line.trim() !== '')
  const rateHz = rateIn(above)
  const found = namesIn(above, grid)
  const names = found ?? Array.from({ length: grid.cells }, (_, i) => ({ name: String(i) }))
  return { names, named: found !== undefined, firstRow, ...(rateHz !== undefined && { rateHz }) }
}

/** The cells of a row; one more that is empty, behind a separator at the end of the line, is none. */
export function cellsIn(line: string, { separator, cells: count }: Grid): string[] {
  const cells = cellsOf(line, separator)
  return cells.length === count + 1 && cells.at(-1) === '' ? cells.slice(0, -1) : cells
}

/**
 * True for a line that has numbers, words and nothing where the last row has them: "Rate; 25600; Hz" above a table of
 * three columns, or "X0 0.0 0.0" in the preamble of a LabVIEW file, is no row.
 */
function isRow(line: string, like: readonly string[], grid: Grid): boolean {
  if (line.trim() === '' || isComment(line)) return false
  const cells = cellsIn(line, grid)
  const isNumber = (cell: string) => numberIn(cell, grid.decimal) !== undefined || momentIn(cell) !== undefined
  const isNone = (cell: string) => /^([+-]?(nan|inf(inity)?))?$/i.test(cell)
  return (
    cells.length === like.length &&
    cells.some(isNumber) &&
    cells.every((cell, i) => isNumber(cell) || isNone(cell) || (isWord(cell) && isWord(like[i]!) && !isNone(like[i]!)))
  )
}

/** The cells of the last line that can be a row. */
function lastRow(lines: readonly string[], grid: Grid): string[] {
  const isNumber = (cell: string) => numberIn(cell, grid.decimal) !== undefined
  const row = lines.findLast(line => {
    if (line.trim() === '' || isComment(line)) return false
    const cells = cellsIn(line, grid)
    return cells.length === grid.cells && cells.some(isNumber)
  })
  return row === undefined ? [] : cellsIn(row, grid)
}

/**
 * The names of the columns: the last line above the rows with as many cells as they have, units in a line of their own
 * beside. Where only comments have, the last of these.
 */
function namesIn(above: readonly string[], grid: Grid): ColumnName[] | undefined {
  const plain = above.filter(line => !isComment(line))
  const uncommented = above.filter(isComment).map(line => line.replace(/^\s*(#+|%+|\/\/)\s*/, ''))
  const found = headAmong(plain, grid) ?? headAmong(uncommented, grid)
  if (found) return found
  const last = plain.at(-1)
  const cells = last === undefined ? [] : cellsIn(last, grid)
  if (cells.length > 1 && cells.every(isWord))
    throw new Error(`has rows of ${grid.cells} cells below a head of ${cells.length}: ${JSON.stringify(last)}`)
  return undefined
}

function headAmong(lines: readonly string[], grid: Grid): ColumnName[] | undefined {
  const heads = lines.flatMap(line => {
    const cells = cellsIn(line, grid)
    // A LabVIEW file has a column for comments, which its rows leave out.
    if (cells.length === grid.cells + 1 && /^comment$/i.test(cells.at(-1)!)) cells.pop()
    return cells.length === grid.cells && cells.some(cell => cell !== '') ? [cells] : []
  })
  const last = heads.at(-1)
  if (!last?.every(isName)) return undefined
  const units = unitRow(last)
  const before = heads.at(-2)
  if (units && before?.every(isName)) return before.map((cell, i) => named(cell, i, units[i]))
  const labels = heads.findLast(cells => /^y_unit_label$/i.test(cells[0]!))?.map(plainUnit)
  return last.map((cell, i) => named(cell, i, i > 0 ? labels?.[i] : undefined))
}

const isName = (cell: string): boolean => cell === '' || /\p{L}|^[[(]/u.test(cell)

function named(cell: string, index: number, unit: string | undefined): ColumnName {
  const own = columnName(cell === '' ? String(index) : cell)
  return unit ? { unit, ...own } : own
}

const stated =
  /(?:sampl\w*|abtast\w*)[\s_.-]*(?:rate|freq\w*)?\b[^\d\n]*?([\d.,]+(?:e[+-]?\d+)?)\s*(k|m)?(?:hz|s\/s|sps|samples)?|\bfs\b[^\d\n]*?([\d.,]+)\s*(k)?hz/i

/** A line such as "Sampling rate: 25600 Hz" or LabVIEW's "Delta_X". */
function rateIn(above: readonly string[]): number | undefined {
  for (const line of above) {
    const step = /^#?\s*Delta_X\W+([\d.,]+(?:e[+-]?\d+)?)/i.exec(line)?.[1]
    if (step !== undefined && Number(step.replace(',', '.')) > 0) return roundedRate(1 / Number(step.replace(',', '.')))
    if (!/rate|freq|\bfs\b/i.test(line)) continue
    const found = stated.exec(line)
    const value = Number((found?.[1] ?? found?.[3] ?? '').replace(',', '.'))
    if (value > 0) return value * ((found?.[2] ?? found?.[4]) ? 1_000 : 1)
  }
  return undefined
}

const roundedRate = (rateHz: number): number => {
  const round = Math.round(rateHz)
  return Math.abs(round - rateHz) < 1e-5 * rateHz ? round : rateHz
}
