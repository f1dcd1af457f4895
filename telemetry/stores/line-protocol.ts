import { escape as escaped } from 'influx'
import type { TelemetryPoint } from '../point.ts'

/** A storable point as a line of InfluxDB's line protocol, its time in nanoseconds. */
export function lineOf({ measurement, tags, fields, time, offset }: TelemetryPoint): string {
  let line: string = measurement
  for (const [name, value] of Object.entries(tags))
    line += `,${name}=${/[,= ]/.test(value) ? escaped.tag(value) : value}`
  let separator = ' '
  for (const [name, value] of Object.entries(fields)) {
    // Numbers are always floating point, so that a field never changes its type. Storable names need no escape.
    line += `${separator}${name}=${typeof value === 'string' ? text(value) : value}`
    separator = ','
  }
  // Nanoseconds as text: they do not fit a JavaScript number.
  return `${line} ${time}${String(offset).padStart(6, '0')}`
}

/** Few texts have a quotation mark, and none that is storable a backslash. */
const text = (value: string): string => (value.includes('"') ? escaped.quoted(value) : `"${value}"`)
