/** A column of a table as its head has it. */
export interface ColumnName {
  name: string
  unit?: string
}

const bracketed = /^(.*?)\s*[[(]([^\])]+)[\])]$/
const units = /^(s|sec|ms|us|µs|μs|ns|g|mg|m\/s2|m\/s\^2|m\/s²|mm\/s|um|µm|μm|v|mv|a|pa|hz|rpm|°c|degc|%|-)$/i

/** A name and the unit in brackets behind it: "accel (m/s²)". */
export function columnName(cell: string): ColumnName {
  const found = bracketed.exec(cell)
  return found?.[1] ? { name: found[1], unit: plainUnit(found[2]!) } : { name: cell }
}

/** The units in a row under the names, as PicoScope and others write it; undefined where the cells are no units. */
export function unitRow(cells: readonly string[]): (string | undefined)[] | undefined {
  const found = cells.map(cell => {
    const inside = /^[[(](.*)[\])]$/.exec(cell)?.[1] ?? cell
    return inside === '' || units.test(inside) ? inside : undefined
  })
  if (found.some(unit => unit === undefined) || found.every(unit => unit === '')) return undefined
  return found.map(unit => (unit ? plainUnit(unit) : undefined))
}

/** One spelling of each unit. */
export function plainUnit(unit: string): string {
  const plain = unit
    .trim()
    .replace(/[µμ]/, 'u')
    .replace(/\^2|²|\*\*2/, '2')
  return /^(g|gn|g_n)$/i.test(plain) ? 'g' : plain
}

const timeName = /^(time|t|zeit|temps|tiempo|timestamp|time ?stamp|date ?time|x_value)$/i
const suffixed = /^(.+?)[\s_/]+(s|sec|ms|us|µs|μs|ns)$/i
const secondsIn: Record<string, number> = { s: 1, sec: 1, seconds: 1, ms: 1e-3, us: 1e-6, ns: 1e-9 }

/** Seconds in the unit of a time column, 1 where it states none; undefined of other columns, as their name says. */
export function timeUnitOf({ name, unit }: ColumnName): number | undefined {
  if (timeName.test(name)) return unit === undefined ? 1 : secondsIn[unit.toLowerCase()]
  const [, stem = '', suffix = ''] = suffixed.exec(name) ?? []
  return timeName.test(stem) ? secondsIn[plainUnit(suffix).toLowerCase()] : undefined
}
