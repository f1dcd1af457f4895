import type { Block } from './live-windows.ts'

export interface CsvLinesOptions {
  /** With the sensor: by number from 0, or by name. */
  column: number | string
  /** With the tacho, where there is one. */
  tachoColumn?: number
  scale: number
}

/** A microcontroller that prints garbage without an end of line. */
const maxLineBytes = 10_000

/**
 * Reads lines of numbers as a microcontroller prints them, separated by commas, semicolons, tabs or blanks; with another
 * separator than the comma, that is a decimal mark. What comes before the first line of numbers is passed over: names of columns,
 * words of the start. After it, a line that holds no number where the sensor's should be is a sample that is missing.
 */
export function csvLines({ column, tachoColumn, scale }: CsvLinesOptions): (text: Buffer) => Block {
  let rest = ''
  let index = typeof column === 'number' ? column : undefined
  let begun = false
  return text => {
    const lines = (rest + text.toString('latin1')).split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop()!.slice(-maxLineBytes)
    const samples: number[] = []
    const tacho: number[] = []
    let gap = false
    for (const line of lines) {
      const cells = cellsOf(line)
      if (index === undefined && cells.includes(`${column}`)) index = cells.indexOf(`${column}`)
      const value = index === undefined ? undefined : numberIn(cells[index])
      const pulse = tachoColumn === undefined ? 0 : numberIn(cells[tachoColumn])
      if (value === undefined || pulse === undefined) {
        gap ||= begun && line.trim() !== ''
        continue
      }
      begun = true
      samples.push(value * scale)
      tacho.push(pulse)
    }
    return {
      samples: Float32Array.from(samples),
      ...(tachoColumn !== undefined && { tacho: Float32Array.from(tacho) }),
      ...(gap && { gap }),
    }
  }
}

function cellsOf(line: string): string[] {
  const text = line.trim()
  const commas = /,\s/.test(text) || !/\s/.test(text)
  const separator = [';', '\t'].find(one => text.includes(one)) ?? (commas ? ',' : /\s+/)
  const cells = text.split(separator).map(cell => cell.trim())
  return separator === ',' ? cells : cells.map(cell => cell.replace(',', '.'))
}

/** Undefined for a cell that is no number; a sensor may say NaN. */
function numberIn(cell: string | undefined): number | undefined {
  if (cell === undefined || cell === '') return undefined
  if (/^[+-]?nan$/i.test(cell)) return Number.NaN
  const value = Number(cell)
  return Number.isNaN(value) ? undefined : value
}
