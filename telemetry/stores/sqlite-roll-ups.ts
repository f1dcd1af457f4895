import { setImmediate as nextTurn } from 'node:timers/promises'
import type { StatementSync } from '@faultline/runtime'
import { catalogue } from '../catalogue.ts'
import { type Measurement, measurements, type TelemetryPoint } from '../point.ts'
import { type Tier, tierMs, tiers } from '../retention.ts'

/** How often what has changed is rolled up, in ms: minutes once they are over, hours while they last. */
export const rollUpEveryMs: Record<Tier, number> = { minutes: 60_000, hours: 600_000 }

const noteStale = `INSERT INTO stale (tier, time, changes) VALUES (?, ?, 1)
  ON CONFLICT DO UPDATE SET changes = changes + 1`
const findStale = 'SELECT time, changes FROM stale WHERE tier = ? AND time < ? ORDER BY time'
// What was written since it was read is still to be rolled up.
const clearStale = 'DELETE FROM stale WHERE tier = ? AND time = ? AND changes = ?'
const seriesOf = `SELECT id, measurement FROM series WHERE measurement IN (SELECT value FROM json_each(?)) AND EXISTS
  (SELECT 1 FROM points WHERE series = series.id AND time >= ? AND time < ?)`
const sumPoints = `SELECT key, sum(value) AS sum, count(*) AS count, min(value) AS min, max(value) AS max
  FROM points, json_each(points.fields)
  WHERE series = ? AND time >= ? AND time < ? AND json_each.type IN ('integer', 'real') GROUP BY key`
const countPoints = 'SELECT count(*) AS count FROM points WHERE series = ? AND time >= ? AND time < ?'
const minutesOf = "SELECT fields FROM rollups WHERE tier = 'minutes' AND series = ? AND time >= ? AND time < ?"
const put = `INSERT INTO rollups (tier, series, time, fields) VALUES (?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET fields = excluded.fields`

/**
 * Roll-ups in the SQLite file, under the names InfluxDB's continuous queries give theirs. What has to be rolled up anew is
 * noted in the transaction of the points, so that neither late points nor a killed process leave a hole.
 */
export class SqliteRollUps {
  private readonly prepare: (sql: string) => StatementSync

  constructor(prepare: (sql: string) => StatementSync) {
    this.prepare = prepare
  }

  /** Notes, within the transaction that writes them, what these points change. */
  note(points: readonly TelemetryPoint[]): void {
    for (const tier of tiers) {
      const changed = new Set<number>()
      for (const { measurement, time } of points) {
        if (catalogue[measurement].rolledUp.length > 0) changed.add(time - (time % tierMs[tier]))
      }
      for (const time of changed) this.prepare(noteStale).run(tier, time)
    }
  }

  /** Rolls up every changed bucket that began before `before`, one series after another, while `isOpen` says so. */
  async run(tier: Tier, before: number, isOpen: () => boolean): Promise<void> {
    const stale = this.prepare(findStale).all(tier, before) as { time: number; changes: number }[]
    for (const { time, changes } of stale) {
      const end = time + tierMs[tier]
      for (const { id, measurement } of this.series(tier, time, end)) {
        if (!isOpen()) return
        const fields = this.fields(tier, measurement, id, time, end)
        this.prepare(put).run(tier, id, time, JSON.stringify(fields))
        await nextTurn()
      }
      if (!isOpen()) return
      this.prepare(clearStale).run(tier, time, changes)
    }
  }

  private series(tier: Tier, begin: number, end: number): { id: number; measurement: Measurement }[] {
    const names = measurements.filter(name => catalogue[name].rolledUp.includes(tier))
    return this.prepare(seriesOf).all(JSON.stringify(names), begin, end) as { id: number; measurement: Measurement }[]
  }

  private fields(tier: Tier, measurement: Measurement, id: number, begin: number, end: number): Record<string, number> {
    const { rolledUp, counted } = catalogue[measurement]
    if (tier === 'hours' && rolledUp.includes('minutes')) return this.ofMinutes(id, begin, end)
    const fields: Record<string, number> = {}
    for (const row of this.prepare(sumPoints).all(id, begin, end) as unknown as (Summed & { key: string })[]) {
      for (const value of ['sum', 'count', 'min', 'max'] as const) fields[`${value}_${row.key}`] = row[value]
    }
    if (counted) {
      fields[`count_${counted}`] = (this.prepare(countPoints).get(id, begin, end) as { count: number }).count
    }
    return fields
  }

  /** Sixty minutes are less to read than an hour of points. */
  private ofMinutes(id: number, begin: number, end: number): Record<string, number> {
    const fields: Record<string, number> = {}
    for (const { fields: text } of this.prepare(minutesOf).all(id, begin, end) as { fields: string }[]) {
      for (const [name, value] of Object.entries(JSON.parse(text) as Record<string, number>)) {
        const before = fields[name]
        if (before === undefined) fields[name] = value
        else if (name.startsWith('min_')) fields[name] = Math.min(before, value)
        else if (name.startsWith('max_')) fields[name] = Math.max(before, value)
        else fields[name] = before + value
      }
    }
    return fields
  }
}

interface Summed {
  sum: number
  count: number
  min: number
  max: number
}
