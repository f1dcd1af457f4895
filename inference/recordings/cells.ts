/** Marks between the integer and the fraction of a number. */
export type DecimalMark = '.' | ','

const strict = {
  '.': /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i,
  ',': /^[+-]?(\d+,?\d*|,\d+)(e[+-]?\d+)?$/i,
}
const clock = /^(\d{1,2}):(\d\d):(\d\d(?:[.,]\d+)?)$/
const calendar = /^\d{4}[-/.]\d\d?[-/.]\d\d?(?:[T ]\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?$/i

/** The number in a cell, or undefined where it is none with this decimal mark. */
export function numberIn(cell: string, decimal: DecimalMark): number | undefined {
  if (!strict[decimal].test(cell)) return undefined
  return Number(decimal === ',' ? cell.replace(',', '.') : cell)
}

/** Seconds since the epoch of a date with a time, or since midnight of a time alone; undefined where a cell is neither. */
export function momentIn(cell: string): number | undefined {
  const time = clock.exec(cell)
  if (time) return Number(time[1]) * 3_600 + Number(time[2]) * 60 + Number(time[3]!.replace(',', '.'))
  if (!calendar.test(cell)) return undefined
  // Date.parse keeps milliseconds only, loggers write microseconds.
  const fraction = /[.,](\d+)(?=Z|[+-]\d\d:?\d\d$|$)/i.exec(cell.slice(10))
  const whole = fraction ? cell.replace(fraction[0], '') : cell
  const at = Date.parse(whole.replace(/^(\d{4})[/.](\d\d?)[/.](\d\d?)/, '$1-$2-$3').replace(' ', 'T'))
  return Number.isNaN(at) ? undefined : at / 1_000 + (fraction ? Number(`0.${fraction[1]}`) : 0)
}

/** True for what a logger writes in the place of a value: nothing, NaN, overload, and other words. */
export const isWord = (cell: string): boolean => !/^[+-]?[.,]?\d/.test(cell)
