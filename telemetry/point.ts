import { createHash } from 'node:crypto'

/** The kinds of record; `docs/reference/telemetry.md` lists the tags, fields and units of each. */
export const measurements = [
  'alarm',
  'audit',
  'command_result',
  'config_reported',
  'health',
  'inference',
  'server_state',
  'state',
  'summary',
  'update',
  'verdict',
] as const

export type Measurement = (typeof measurements)[number]

/** Every name that may be a tag. No field has one of these names: InfluxDB would let the two shadow each other. */
export const tagNames = [
  'agent',
  'audited',
  'decidedBy',
  'device',
  'fault',
  'finding',
  'label',
  'machine',
  'online',
  'outcome',
  'point',
  'result',
  'revision',
  'server',
  'site',
  'state',
  'status',
] as const

export type TagName = (typeof tagNames)[number]
export type FieldValue = number | string | boolean

/** One record of telemetry, as every store takes it. */
export interface TelemetryPoint {
  measurement: Measurement
  /** What one filters and groups by: few different values each, never ids. */
  tags: Partial<Record<TagName, string>>
  fields: Record<string, FieldValue>
  /** Milliseconds since 1970, UTC. */
  time: number
  /**
   * Nanoseconds after `time`, 0 to 999,999. Measurement, tags, time and offset identify a point: two different windows
   * that end in the same millisecond differ here, and a message delivered twice does not.
   */
  offset: number
}

/** An offset made from what identifies the message, so that a second delivery gets the same one. */
export const offsetOf = (...identity: string[]): number =>
  createHash('sha1').update(identity.join('\n')).digest().readUInt32BE() % 1_000_000

/** Where times must lie: InfluxDB ends in 2262, and a clock outside this range tells nothing anyway. */
export const timeRange = { from: 0, to: Date.UTC(2200, 0) } as const

/** The longest text kept. No text of the contract that is worth recording is longer. */
const maxTextLength = 512

/**
 * Text as it can be stored. InfluxDB's line protocol ends a record at a line break and cannot write a tag that ends in
 * a backslash, so a hostile label could otherwise forge records; a lone surrogate has no UTF-8 form.
 */
export const storableText = (text: string): string => text.slice(0, maxTextLength).replace(/[\p{Cc}\p{Cs}\\]/gu, '_')

/** A name as it stands behind the prefix of a field. */
export const fieldName = (name: string): string => name.slice(0, 64).replace(/[^A-Za-z0-9_.-]/g, '_')

/** At most so many names of a record that the sender chooses: every new field name costs a store for ever. */
const maxNamedFields = 128

/** Fields from a record with free names, such as features: `feature_rms`. Names are made storable. */
export function namedFields(prefix: string, record: Readonly<Record<string, number>> = {}): Record<string, number> {
  const entries = Object.entries(record).slice(0, maxNamedFields)
  return Object.fromEntries(entries.map(([name, value]) => [`${prefix}_${fieldName(name)}`, value]))
}

/** The names that `namedFields` added, with their values. */
export function fieldsNamed(prefix: string, fields: Readonly<Record<string, FieldValue>>): Record<string, number> {
  const start = `${prefix}_`
  const found = Object.entries(fields).filter(
    (entry): entry is [string, number] => entry[0].startsWith(start) && typeof entry[1] === 'number',
  )
  return Object.fromEntries(found.map(([name, value]) => [name.slice(start.length), value]))
}

/** The point with absent and empty tags left out, absent fields left out, and all text storable. */
export function storablePoint(point: {
  measurement: Measurement
  tags: Partial<Record<TagName, string | undefined>>
  fields: Readonly<Record<string, FieldValue | null | undefined>>
  time: number
  offset?: number
}): TelemetryPoint {
  const tags: Partial<Record<TagName, string>> = {}
  for (const name of tagNames) {
    const value = point.tags[name]
    if (value) tags[name] = storableText(value)
  }
  const fields: Record<string, FieldValue> = {}
  for (const [name, value] of Object.entries(point.fields)) {
    if (typeof value === 'string') fields[name] = storableText(value)
    else if (typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))) fields[name] = value
  }
  return { measurement: point.measurement, tags, fields, time: point.time, offset: point.offset ?? 0 }
}
