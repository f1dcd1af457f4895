import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { classificationOf, isValid, type LocalResult } from '@faultline/inference'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'

/** One window of a trace: what the local model said, what was true, what the server said or would say. */
export interface TraceRow {
  local: LocalResult
  /** Class numbers. */
  truth: number
  remote: number
}

export interface Trace {
  name: string
  /** Classes of the model, named by their numbers. */
  classes: readonly string[]
  /** False where the server is taken to be right always, since the trace has no column for it. */
  hasRemote: boolean
  rows: readonly TraceRow[]
}

/** Reads a trace from a file. Throws `RECORDING_UNREADABLE`, or `TRACE_INVALID` naming the line. */
export async function readTrace(path: string): Promise<Trace> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw toFaultlineError(cause, 'RECORDING_UNREADABLE', path)
  }
  return parseTrace(text, basename(path).replace(/\.csv$/i, ''))
}

/**
 * A trace from CSV: a header that names `truth`, `p0` to `pk` and perhaps `remote` in any order, then one window per
 * line. Other columns are ignored. Throws `TRACE_INVALID`.
 */
export function parseTrace(text: string, name: string): Trace {
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  const header = cellsOf(lines[0] ?? '')
  const invalid = (message: string) => new FaultlineError('TRACE_INVALID', `${name}: ${message}`)
  const truthColumn = header.indexOf('truth')
  const remoteColumn = header.indexOf('remote')
  const columns: number[] = []
  for (let at = header.indexOf('p0'); at >= 0; at = header.indexOf(`p${columns.length}`)) columns.push(at)
  if (truthColumn < 0) throw invalid('the header has no column "truth"')
  if (columns.length < 2) throw invalid('the header has no columns "p0", "p1", … of at least two classes')
  const classes = columns.map((_, i) => String(i))

  const rows: TraceRow[] = []
  for (let i = 1; i < lines.length; i++) {
    if (lines[i]!.trim() === '') continue
    const cells = cellsOf(lines[i]!)
    const numberAt = (column: number) => {
      const cell = cells[column] ?? ''
      const value = cell === '' ? Number.NaN : Number(cell)
      if (Number.isFinite(value)) return value
      throw invalid(`line ${i + 1}: column "${header[column]}" is ${cell === '' ? 'empty' : `"${cell}", no number`}`)
    }
    const classAt = (column: number) => {
      const value = numberAt(column)
      if (classes[value] !== undefined) return value
      throw invalid(
        `line ${i + 1}: column "${header[column]}" is ${value}, not a class from 0 to ${classes.length - 1}`,
      )
    }
    const probabilities = columns.map(column => rounded(numberAt(column)))
    if (!isValid(probabilities, classes.length))
      throw invalid(`line ${i + 1}: the ${classes.length} probabilities are not from 0 to 1 with a sum of 1`)
    const truth = classAt(truthColumn)
    const remote = remoteColumn < 0 ? truth : classAt(remoteColumn)
    rows.push({ local: { ...classificationOf(classes, probabilities), classes }, truth, remote })
  }
  if (rows.length === 0) throw invalid('there is no window below the header')
  return { name, classes, hasRemote: remoteColumn >= 0, rows }
}

/** How far beyond 0 or 1 a sum of rounded numbers may get. */
const ROUNDING = 1e-4

/** What rounding carried beyond 0 or 1, brought back; other values as they are. */
function rounded(p: number): number {
  const nearest = Math.min(1, Math.max(0, p))
  return Math.abs(p - nearest) <= ROUNDING ? nearest : p
}

/** Numbers and names need no quotes, but some programs write them. */
function cellsOf(line: string): string[] {
  return line.split(',').map(cell => cell.trim().replace(/^"(.*)"$/, '$1'))
}

export function isLocalRight({ local, truth }: TraceRow): boolean {
  return local.label === String(truth)
}

export function isRemoteRight({ remote, truth }: TraceRow): boolean {
  return remote === truth
}
