import { existsSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { FaultlineError } from '@faultline/protocol'
import { type DatabaseSync, inTransaction, openDatabase, openReadOnly, type StatementSync } from '@faultline/runtime'
import { storablePoint, type TelemetryPoint } from '../point.ts'
import {
  type AuditQuery,
  type AuditRow,
  auditRows,
  type CountQuery,
  type CountRow,
  checkGroupBy,
  checkLimit,
  checkSeries,
  checkTime,
  type HistoryQuery,
  historyPage,
  type InferenceQuery,
  type InferenceRow,
  inferenceRow,
  type Place,
  placeTags,
  type SeriesBucket,
  type SeriesQuery,
  StoreError,
  sortCounts,
  storeRequest,
  type TelemetryStore,
} from '../store.ts'

export interface SqliteStoreOptions {
  /** The file, or `:memory:`. */
  path: string
  /** Points older than this are deleted on start and every hour; nothing is when absent. */
  retentionDays?: number
  /** For a store that somebody else writes: nothing is made, changed or deleted, and it has to be there. */
  readOnly?: boolean
}

/** A series is one measurement with one set of tags, as in InfluxDB: few of them, with many points each. */
const migrations = [
  `CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    measurement TEXT NOT NULL,
    tags TEXT NOT NULL,
    UNIQUE (measurement, tags)
  ) STRICT;
  CREATE TABLE points (
    series INTEGER NOT NULL REFERENCES series (id),
    time INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (series, time, offset)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX points_by_time ON points (time, offset)`,
]

// InfluxDB merges the fields of a point written twice; json_patch does the same (RFC 7396, and no field is null).
const insertPoint = `INSERT INTO points (series, time, offset, fields) VALUES (?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET fields = json_patch(fields, excluded.fields)`
const insertSeries = 'INSERT INTO series (measurement, tags) VALUES (?, ?) ON CONFLICT DO NOTHING'
const selectSeries = 'SELECT id FROM series WHERE measurement = ? AND tags = ?'
// In pieces, so that deleting a month of points does not hold up the process.
const pruneSome = `DELETE FROM points WHERE (series, time, offset) IN
  (SELECT series, time, offset FROM points WHERE time < ? LIMIT 2000)`
const pruneSeries = 'DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM points WHERE points.series = series.id)'

const dayMs = 86_400_000
const hourMs = 3_600_000
const maxCachedSeries = 10_000

/** Telemetry in one SQLite file: the embedded default, which needs no server. */
export class SqliteStore implements TelemetryStore {
  readonly name = 'sqlite'
  private readonly options: SqliteStoreOptions
  private database: DatabaseSync | undefined
  private statements = new Map<string, StatementSync>()
  private readonly seriesIds = new Map<string, number>()
  private pruneTimer: NodeJS.Timeout | undefined
  private pruning: Promise<void> = Promise.resolve()

  constructor(options: SqliteStoreOptions) {
    this.options = options
  }

  async start(): Promise<void> {
    if (this.options.readOnly) return this.openExisting(this.options.path)
    await this.request(() => {
      this.database = openDatabase(this.options.path, migrations)
    })
    if (this.options.retentionDays === undefined) return
    await this.prune(this.options.retentionDays)
    this.pruneTimer = setInterval(() => {
      // The next hour tries again; a full disk shows itself in `write`.
      this.pruning = this.prune(this.options.retentionDays!).catch(() => {})
    }, hourMs).unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.pruneTimer)
    const database = this.database
    this.database = undefined
    await this.pruning
    this.statements.clear()
    this.seriesIds.clear()
    database?.close()
  }

  async write(points: readonly TelemetryPoint[]): Promise<void> {
    await this.request(() => {
      try {
        inTransaction(this.open(), () => {
          for (const point of points) this.insert(storablePoint(point))
        })
      } catch (error) {
        // Ids given out inside a transaction that was rolled back belong to nobody.
        this.seriesIds.clear()
        throw error
      }
    })
  }

  async inferences(query: InferenceQuery = {}): Promise<InferenceRow[]> {
    return this.request(() => {
      const { where, parameters } = conditions('inference', query)
      const rows = this.prepare(
        `SELECT time, tags, fields FROM points JOIN series ON series.id = points.series WHERE ${where}
          ORDER BY time DESC, offset DESC LIMIT ?`,
      ).all(...parameters, checkLimit(query.limit)) as unknown as StoredPoint[]
      return rows.map(rowOf)
    })
  }

  async *history(query: HistoryQuery): AsyncGenerator<InferenceRow[]> {
    const { where, parameters } = conditions('inference', query)
    let after = [-1, -1, -1]
    for (;;) {
      const rows = await this.request(
        () =>
          this.prepare(
            `SELECT time, offset, series, tags, fields FROM points JOIN series ON series.id = points.series
              WHERE ${where} AND (time, offset, series) > (?, ?, ?) ORDER BY time, offset, series LIMIT ?`,
          ).all(...parameters, ...after, historyPage) as unknown as (StoredPoint & {
            offset: number
            series: number
          })[],
      )
      const last = rows.at(-1)
      if (!last) return
      after = [last.time, last.offset, last.series]
      yield rows.map(rowOf)
      if (rows.length < historyPage) return
      await nextTurn()
    }
  }

  async counts(query: CountQuery): Promise<CountRow[]> {
    return this.request(() => {
      const groupBy = checkGroupBy(query.groupBy)
      const { where, parameters } = conditions('inference', query)
      const rows = this.prepare(
        `SELECT tags, count(*) AS count FROM points JOIN series ON series.id = points.series
          WHERE ${where} AND tags ->> '$.revision' = 'no' GROUP BY series.id`,
      ).all(...parameters) as { tags: string; count: number }[]
      return sortCounts(sumByTags(rows, groupBy), groupBy)
    })
  }

  async audits(query: AuditQuery = {}): Promise<AuditRow[]> {
    return this.request(() => {
      const { where, parameters } = conditions('audit', query)
      const rows = this.prepare(
        `SELECT tags, count(*) AS count FROM points JOIN series ON series.id = points.series
          WHERE ${where} GROUP BY series.id`,
      ).all(...parameters) as { tags: string; count: number }[]
      return auditRows(rows.map(({ tags, count }) => ({ tags: JSON.parse(tags), count })))
    })
  }

  async series(query: SeriesQuery): Promise<SeriesBucket[]> {
    return this.request(() => {
      const { since, until, every } = checkSeries(query)
      const { where, parameters } = conditions(query.measurement, { ...query, since, until })
      const path = `$."${query.field}"`
      const buckets = this.prepare(
        `SELECT time - time % CAST(? AS INTEGER) AS time, avg(value) AS mean, min(value) AS min, max(value) AS max FROM
          (SELECT time, fields ->> ? AS value FROM points JOIN series ON series.id = points.series
            WHERE ${where} AND json_type(fields, ?) IN ('integer', 'real'))
          GROUP BY 1 ORDER BY 1`,
      ).all(every, path, ...parameters, path) as unknown as SeriesBucket[]
      return buckets.map(({ time, mean, min, max }) => ({ time, mean, min, max }))
    })
  }

  /** Throws `STORE_NOT_FOUND` where there is no store. */
  private async openExisting(path: string): Promise<void> {
    if (!existsSync(path)) throw new FaultlineError('STORE_NOT_FOUND', `there is no file ${path}`)
    try {
      this.database = openReadOnly(path)
      this.prepare(
        'SELECT time, offset, fields, tags FROM points JOIN series ON series.id = points.series LIMIT 0',
      ).all()
    } catch (cause) {
      await this.stop()
      throw new FaultlineError('STORE_NOT_FOUND', `${path} holds no telemetry: ${(cause as Error).message}`, { cause })
    }
  }

  /** Deletes what is older than so many days. */
  private async prune(retentionDays: number): Promise<void> {
    const before = Date.now() - retentionDays * dayMs
    await this.request(async () => {
      while (this.database && this.prepare(pruneSome).run(before).changes !== 0) await nextTurn()
      if (!this.database) return
      this.prepare(pruneSeries).run()
      this.seriesIds.clear()
    })
  }

  private insert(point: TelemetryPoint): void {
    const series = this.seriesId(point.measurement, JSON.stringify(point.tags))
    this.prepare(insertPoint).run(series, point.time, point.offset, JSON.stringify(point.fields))
  }

  private seriesId(measurement: string, tags: string): number {
    const key = measurement + tags
    const known = this.seriesIds.get(key)
    if (known !== undefined) return known
    this.prepare(insertSeries).run(measurement, tags)
    const { id } = this.prepare(selectSeries).get(measurement, tags) as { id: number }
    if (this.seriesIds.size >= maxCachedSeries) this.seriesIds.clear()
    this.seriesIds.set(key, id)
    return id
  }

  private prepare(sql: string): StatementSync {
    const statement = this.statements.get(sql) ?? this.open().prepare(sql)
    this.statements.set(sql, statement)
    return statement
  }

  private open(): DatabaseSync {
    if (!this.database) throw new StoreError('sqlite: the store is not open')
    return this.database
  }

  private request<T>(work: () => T | Promise<T>): Promise<T> {
    return storeRequest(this.name, work)
  }
}

interface StoredPoint {
  time: number
  tags: string
  fields: string
}

const rowOf = ({ time, tags, fields }: StoredPoint): InferenceRow =>
  inferenceRow({ time, tags: JSON.parse(tags), fields: JSON.parse(fields) })

function conditions(
  measurement: string,
  query: Place & { since?: number; until?: number },
): { where: string; parameters: (string | number)[] } {
  const where = ['measurement = ?']
  const parameters: (string | number)[] = [measurement]
  const add = (condition: string, value: string | number) => {
    where.push(condition)
    parameters.push(value)
  }
  for (const tag of placeTags) {
    const value = query[tag]
    if (value !== undefined) add(`tags ->> '$.${tag}' = ?`, value)
  }
  if (query.since !== undefined) add('time >= ?', checkTime(query.since))
  if (query.until !== undefined) add('time < ?', checkTime(query.until))
  return { where: where.join(' AND '), parameters }
}

function sumByTags(rows: readonly { tags: string; count: number }[], groupBy: CountQuery['groupBy']): CountRow[] {
  const groups = new Map<string, CountRow>()
  for (const { tags, count } of rows) {
    const all = JSON.parse(tags) as TelemetryPoint['tags']
    const group = Object.fromEntries(groupBy.map(tag => [tag, all[tag] ?? '']))
    const key = JSON.stringify(group)
    const found = groups.get(key)
    if (found) found.count += count
    else groups.set(key, { ...group, count })
  }
  return [...groups.values()]
}
