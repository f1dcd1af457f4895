import { existsSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { FaultlineError } from '@faultline/protocol'
import {
  type DatabaseSync,
  databaseFailure,
  inTransaction,
  type Logger,
  openOrSetAside,
  openReadOnly,
  type SetAside,
  type StatementSync,
  SteadyClock,
  setAside,
} from '@faultline/runtime'
import { catalogue } from '../catalogue.ts'
import { storablePoint, type TelemetryPoint } from '../point.ts'
import {
  defaultRetention,
  type Retention,
  retentionMs,
  rolledUpValues,
  type Tier,
  tierFor,
  tierMs,
  tiers,
} from '../retention.ts'
import {
  type AlarmQuery,
  type AlarmRow,
  type AuditQuery,
  type AuditRow,
  alarmRow,
  auditRows,
  type CountQuery,
  type CountRow,
  checkGroupBy,
  checkLimit,
  checkSeries,
  checkTime,
  type Filter,
  filterTags,
  type HistoryQuery,
  historyPage,
  type InferenceQuery,
  type InferenceRow,
  inferenceRow,
  type RefusedPoint,
  retainedFrom,
  type SeriesBucket,
  type SeriesQuery,
  StoreError,
  sortCounts,
  splitByAge,
  storeRequest,
  type TelemetryStore,
  type UpdateQuery,
  type UpdateRow,
  type Upkeep,
  updateRow,
} from '../store.ts'
import { rollUpEveryMs, SqliteRollUps } from './sqlite-roll-ups.ts'
import {
  insertPoint,
  insertSeries,
  migrations,
  pruneRollUps,
  pruneSeries,
  pruneSome,
  readClock,
  saveClock,
  selectSeries,
} from './sqlite-schema.ts'

export interface SqliteStoreOptions {
  /** The file, or `:memory:`. */
  path: string
  /** What is older is deleted on start and every hour. */
  retention?: Retention
  /** For a store that another process writes: nothing is made, changed or deleted, and it has to be there. */
  readOnly?: boolean
  logger?: Logger
}

const hourMs = 3_600_000
const maxCachedSeries = 10_000

/**
 * Telemetry in one SQLite file: the embedded default, which needs no server. A damaged file is set aside, when it is opened
 * and when the damage is met in writing. A file that could not be opened, because the disk is full for one, is opened by
 * the write that finds room.
 */
export class SqliteStore implements TelemetryStore {
  readonly name = 'sqlite'
  readonly upkeep: Upkeep = { setAside: 0, failed: 0 }
  private readonly options: SqliteStoreOptions
  private database: DatabaseSync | undefined
  private statements = new Map<string, StatementSync>()
  private readonly seriesIds = new Map<string, number>()
  private readonly retention: Retention
  private readonly rollUps = new SqliteRollUps(sql => this.prepare(sql))
  private pruneTimer: NodeJS.Timeout | undefined
  private rollUpTimer: NodeJS.Timeout | undefined
  private hoursRolledUpAt = Number.NEGATIVE_INFINITY
  private clock = new SteadyClock()
  private housekeeping: Promise<void> = Promise.resolve()

  constructor(options: SqliteStoreOptions) {
    this.options = options
    this.retention = options.retention ?? defaultRetention
  }

  async start(): Promise<void> {
    if (this.options.readOnly) return this.openExisting(this.options.path)
    this.pruneTimer = setInterval(() => this.keepHouse(() => this.prune()), hourMs).unref()
    this.rollUpTimer = setInterval(() => this.keepHouse(() => this.rollUpStale()), rollUpEveryMs.minutes).unref()
    await this.request(() => this.openForWriting())
    // Nothing depends on it, and a full disk may refuse it.
    this.keepHouse(() => this.prune())
    await this.housekeeping
  }

  async stop(): Promise<void> {
    clearInterval(this.pruneTimer)
    clearInterval(this.rollUpTimer)
    const { database } = this
    this.database = undefined
    await this.housekeeping
    this.database = database
    this.saveClock()
    this.pruneTimer = undefined
    this.close()
  }

  async write(points: readonly TelemetryPoint[]): Promise<readonly RefusedPoint[]> {
    const { kept, refused } = splitByAge(points, this.retention, this.clock)
    await this.request(() => {
      if (!this.database && this.pruneTimer) this.openForWriting()
      try {
        this.insertAll(kept)
      } catch (error) {
        if (databaseFailure(error) !== 'damaged') throw error
        this.replaceDamaged(error as Error)
        this.insertAll(kept)
      }
    })
    return refused
  }

  /** What is rolled up is known to the file: these times, and all others that have changed. */
  async rollUp(_from: number, _until: number): Promise<void> {
    await this.rollUpStale(Number.POSITIVE_INFINITY)
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

  async alarms(query: AlarmQuery = {}): Promise<AlarmRow[]> {
    return (await this.newest('alarm', query)).map(alarmRow)
  }

  async updates(query: UpdateQuery = {}): Promise<UpdateRow[]> {
    return (await this.newest('update', query)).map(updateRow)
  }

  private newest(measurement: 'alarm' | 'update', query: AlarmQuery | UpdateQuery) {
    return this.request(() => {
      const { where, parameters } = conditions(measurement, query)
      // Series first: of alarms and updates there are few, and points by time are mostly others.
      const rows = this.prepare(
        `SELECT time, tags, fields FROM series CROSS JOIN points ON series.id = points.series WHERE ${where}
          ORDER BY time DESC LIMIT ?`,
      ).all(...parameters, checkLimit(query.limit)) as unknown as StoredPoint[]
      return rows.map(({ time, tags, fields }) => ({
        time,
        tags: JSON.parse(tags) as TelemetryPoint['tags'],
        fields: JSON.parse(fields) as TelemetryPoint['fields'],
      }))
    })
  }

  async series(query: SeriesQuery): Promise<SeriesBucket[]> {
    return this.request(() => {
      const { since, until, every } = checkSeries(query)
      const conditioned = conditions(query.measurement, { ...query, since, until })
      const tier = query.tier ?? tierFor({ since, every }, catalogue[query.measurement].rolledUp, this.retention)
      const buckets =
        tier === 'raw'
          ? this.seriesOfPoints(query.field, every, conditioned)
          : this.seriesOfRollUps(tier, query.field, every, conditioned)
      return buckets.map(({ time, mean, min, max }) => ({ time, mean, min, max }))
    })
  }

  private seriesOfPoints(field: string, every: number, { where, parameters }: Conditions): SeriesBucket[] {
    const path = `$."${field}"`
    return this.prepare(
      `SELECT time - time % CAST(? AS INTEGER) AS time, avg(value) AS mean, min(value) AS min, max(value) AS max FROM
        (SELECT time, fields ->> ? AS value FROM points JOIN series ON series.id = points.series
          WHERE ${where} AND json_type(fields, ?) IN ('integer', 'real'))
        GROUP BY 1 ORDER BY 1`,
    ).all(every, path, ...parameters, path) as unknown as SeriesBucket[]
  }

  private seriesOfRollUps(tier: Tier, field: string, every: number, { where, parameters }: Conditions): SeriesBucket[] {
    const paths = rolledUpValues.map(value => `$."${value}_${field}"`)
    return this.prepare(
      `SELECT time - time % CAST(? AS INTEGER) AS time, sum(total) / sum(number) AS mean, min(least) AS min, max(greatest) AS max
        FROM (SELECT time, CAST(fields ->> ? AS REAL) AS total, fields ->> ? AS number, fields ->> ? AS least, fields ->> ? AS greatest
          FROM rollups JOIN series ON series.id = rollups.series
          WHERE ${where} AND tier = ? AND json_type(fields, ?) IS NOT NULL)
        GROUP BY 1 ORDER BY 1`,
    ).all(every, ...paths, ...parameters, tier, paths[0]!) as unknown as SeriesBucket[]
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

  /** Work in the background. What fails is counted, and tried again the next time; its reason shows itself in `write`. */
  private keepHouse(work: () => Promise<void>): void {
    this.housekeeping = this.housekeeping.then(work).catch(() => {
      this.upkeep.failed++
    })
  }

  /** Deletes what is older than it is kept. */
  private async prune(): Promise<void> {
    const kept = retentionMs(this.retention)
    await this.request(async () => {
      const now = retainedFrom(this.clock)
      const before = now - kept.raw
      while (this.database && this.prepare(pruneSome).run(before).changes !== 0) await nextTurn()
      for (const tier of tiers) if (this.database) this.prepare(pruneRollUps).run(tier, now - kept[tier])
      if (!this.database) return
      this.prepare(pruneSeries).run()
      this.seriesIds.clear()
    })
  }

  /** Minutes that are over, and every ten minutes the hours; all that has changed before `until` where that is given. */
  private async rollUpStale(until?: number): Promise<void> {
    const now = Date.now()
    const monotonic = performance.now()
    const isOpen = () => this.database !== undefined
    await this.request(async () => {
      if (!isOpen()) return
      this.saveClock()
      await this.rollUps.run('minutes', until ?? now - tierMs.minutes, isOpen)
      if (!isOpen() || (until === undefined && monotonic - this.hoursRolledUpAt < rollUpEveryMs.hours)) return
      this.hoursRolledUpAt = monotonic
      await this.rollUps.run('hours', until ?? now, isOpen)
    })
  }

  private openForWriting(): void {
    const opened = openOrSetAside(this.options.path, migrations)
    try {
      if (!opened.setAside)
        this.clock = new SteadyClock((opened.database.prepare(readClock).get() as { ms: number }).ms)
    } catch (error) {
      opened.database.close()
      throw error
    }
    this.database = opened.database
    if (opened.setAside) this.reportSetAside(opened.setAside)
  }

  /** A store that does not take it has a clock that is a little behind the next time, which deletes nothing too early. */
  private saveClock(): void {
    if (!this.database || !this.pruneTimer) return
    try {
      this.prepare(saveClock).run(this.clock.now())
    } catch {
      this.upkeep.failed++
    }
  }

  private replaceDamaged({ message }: Error): void {
    this.close()
    const opened = setAside(this.options.path, migrations, {}, message)
    this.database = opened.database
    this.reportSetAside(opened.setAside)
  }

  private reportSetAside(aside: SetAside): void {
    this.upkeep.setAside++
    this.options.logger?.error(
      { code: 'DATABASE_FAILED', ...aside },
      'the telemetry store was damaged: it was set aside, and a new one begun',
    )
  }

  private close(): void {
    const { database } = this
    this.database = undefined
    this.statements.clear()
    this.seriesIds.clear()
    database?.close()
  }

  private insertAll(points: readonly TelemetryPoint[]): void {
    try {
      inTransaction(this.open(), () => {
        for (const point of points) this.insert(storablePoint(point))
        this.rollUps.note(points)
      })
    } catch (error) {
      // Ids given out inside a transaction that was rolled back belong to no series.
      this.seriesIds.clear()
      throw error
    }
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

interface Conditions {
  where: string
  parameters: (string | number)[]
}

function conditions(measurement: string, query: Filter): Conditions {
  const where = ['measurement = ?']
  const parameters: (string | number)[] = [measurement]
  const add = (condition: string, value: string | number) => {
    where.push(condition)
    parameters.push(value)
  }
  for (const tag of filterTags) {
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
