import { type DecimalMark, isWord, momentIn, numberIn } from './cells.ts'

/** What lies between the cells of a row; `blank` is any run of blanks and tabs, `none` a table of one column. */
export const separators = ['none', ';', '\t', ',', 'blank'] as const
export type Separator = (typeof separators)[number]

export interface Marks {
  separator: Separator
  decimal: DecimalMark
}

/** The marks of a table, and the cells of its rows. */
export interface Grid extends Marks {
  cells: number
}

/** In the order in which they are preferred where several fit. Cells in quotes may have commas for both. */
const candidates: readonly Marks[] = separators.flatMap(separator =>
  (['.', ','] as const).map((decimal): Marks => ({ separator, decimal })),
)

/** Lines that are looked at to tell how a table is separated. */
const maxSampledLines = 200

/** The cells of one line, trimmed and without quotes. */
export function cellsOf(line: string, separator: Separator): string[] {
  if (separator === 'none')
    return [
      line
        .trim()
        .replace(/^"(.*)"$/, '$1')
        .trim(),
    ]
  if (separator === 'blank') return line.trim().split(/\s+/)
  if (!line.includes('"')) return line.split(separator).map(cell => cell.trim())
  return unquoted(line, separator)
}

/** Cells of a line with quotes: separators between them are text, and two in a row are one of the text. */
function unquoted(line: string, separator: string): string[] {
  const cells = ['']
  let inside = false
  for (let at = 0; at < line.length; at++) {
    const sign = line[at]!
    const isDouble = inside && sign === '"' && line[at + 1] === '"'
    if (isDouble) at++
    if (sign === '"' && !isDouble) inside = !inside
    else if (sign === separator && !inside) cells.push('')
    else cells[cells.length - 1] += sign
  }
  return cells.map(cell => cell.trim())
}

export const isComment = (line: string): boolean => /^\s*(#|%|\/\/)/.test(line)

/**
 * How the rows of a table are separated, from lines all over it. A comma may separate cells or mark decimals: where the
 * rows fit both, the line that names the columns decides. Throws where nothing decides, or where commas do both.
 */
export function marksOf(lines: readonly string[], given: Partial<Marks> = {}): Grid {
  const sampled = sample(lines)
  const scored = candidates
    .filter(({ separator }) => given.separator === undefined || separator === given.separator)
    .filter(({ decimal }) => given.decimal === undefined || decimal === given.decimal)
    .map(marks => ({ marks, ...scoreOf(sampled, marks) }))
  const best = Math.max(...scored.map(({ score }) => score))
  if (!(best > 0)) throw new Error('has no rows of numbers')
  const fitting = scored.filter(({ score }) => score === best)
  const first = fitting.find(({ marks }) => marks.separator !== 'none' || marks.decimal === '.') ?? fitting[0]!
  const decimals = fitting.find(({ marks }) => marks.separator === 'none' && marks.decimal === ',')
  const columns = fitting.find(({ marks }) => marks.separator === ',')
  if (decimals && columns) return gridOf(commasAre(lines, sampled) === 'decimals' ? decimals : columns)
  if (first.marks.separator === ',' && first.marks.decimal === '.' && looksLikeFractions(sampled))
    throw new Error('has commas that both separate cells and mark decimals: export it with ";" or a tab between cells')
  return gridOf(first)
}

const gridOf = ({ marks, cells }: { marks: Marks; cells: number }): Grid => ({ ...marks, cells })

/** Rows of values come last in a file, so that the first fifth is left out. */
function sample(lines: readonly string[]): string[] {
  const rows = lines.slice(Math.floor(lines.length / 5)).filter(line => line.trim() !== '' && !isComment(line))
  const step = Math.max(1, Math.floor(rows.length / maxSampledLines))
  return rows.filter((_, i) => i % step === 0)
}

/** How many rows have as many cells as most have, none of them half a number; and how many cells these are. */
function scoreOf(lines: readonly string[], { separator, decimal }: Marks): { score: number; cells: number } {
  const counts = new Map<number, number>()
  let score = 0
  for (const line of lines) {
    const cells = cellsOf(line, separator)
    if (separator !== 'none' && cells.length < 2) continue
    // A tab separates, whatever else is in the line.
    if ((separator === 'none' || separator === ',') && line.includes('\t')) continue
    if (separator === decimal && !line.includes('"')) continue
    // A column of words is no fault, a number with the other mark is.
    if (!cells.some(cell => numberIn(cell, decimal) !== undefined)) continue
    if (!cells.every(cell => isWord(cell) || numberIn(cell, decimal) !== undefined || momentIn(cell) !== undefined))
      continue
    counts.set(cells.length, (counts.get(cells.length) ?? 0) + 1)
  }
  let most = 0
  for (const [cells, count] of counts) if (count > score) [score, most] = [count, cells]
  return { score, cells: most }
}

function commasAre(lines: readonly string[], rows: readonly string[]): 'decimals' | 'separators' {
  const head = lines.findLast(line => /^\s*(#|%|\/\/)?\s*"?[a-z]/i.test(line))
  const names = head === undefined ? 0 : cellsOf(head, ',').length
  if (names === 1) return 'decimals'
  const isHead = head !== undefined && !isComment(head) && names === 2
  if (looksLikeFractions(rows)) {
    if (!isHead) return 'decimals'
    throw new Error(`has two names in ${JSON.stringify(head)} above rows such as ${JSON.stringify(rows[0])}`)
  }
  if (isHead) return 'separators'
  throw new Error(
    `has rows such as ${JSON.stringify(rows[0])}, which are one number with a decimal comma or two cells: say decimal: "," or separator: ","`,
  )
}

/** "0,0068" and "-0,5" are no pairs of whole numbers. */
const looksLikeFractions = (rows: readonly string[]): boolean =>
  !rows.some(row => row.includes('.')) && rows.some(row => /-0,\d|,0\d/.test(row))
