import { FaultlineError } from '@faultline/protocol'
import { SteadyClock } from '@faultline/runtime'
import { escape as escaped, type INanoDate } from 'influx'
import { catalogue } from '../catalogue.ts'
import { storablePoint, type TelemetryPoint, tagNames } from '../point.ts'
import { defaultRetention, type Retention, retentionMs, type Tier, tierFor, tierMs, tiers } from '../retention.ts'
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
  type TelemetryStore,
  type UpdateQuery,
  type UpdateRow,
  type Upkeep,
  updateRow,
} from '../store.ts'
import { InfluxClient, type InfluxClientOptions, statusOf } from './influx-client.ts'
import {
  continuousQueries,
  policies,
  policyDuration,
  policyStatement,
  rawPolicy,
  resampledMs,
  rollUpStatements,
} from './influx-schema.ts'
import { lineOf } from './line-protocol.ts'

export interface InfluxStoreOptions extends Omit<InfluxClientOptions, 'database'> {
  /** `faultline` when absent. Created on start. */
  database?: string
  /** Of the server, 1 when absent. In 2 and 3 there is nothing to set up through the 1.x API. */
  version?: 1 | 2 | 3
  retention?: Retention
  /** For a database that somebody else writes: nothing is created or changed, and it has to be there. */
  readOnly?: boolean
}

/** How long roll-ups of late points wait for more of the same hour, in ms. */
const lateRollUpMs = 5_000

/**
 * Telemetry in InfluxDB through its 1.x API. In 1.x the points go through retention policies and continuous queries that
 * this makes on the first start; points too late for the continuous queries are rolled up from here.
 */
export class InfluxStore implements TelemetryStore {
  readonly name = 'influx'
  readonly upkeep: Upkeep = { setAside: 0, failed: 0 }
  private readonly database: string
  private readonly client: InfluxClient
  private readonly version: 1 | 2 | 3
  private readonly retention: Retention
  private readonly clock = new SteadyClock()
  private readonly readOnly: boolean
  /** The retention policies that were found or made; undefined before the database was seen. */
  private policies: ReadonlySet<string> | undefined
  /** Begins of the hours in which late points came. */
  private readonly lateHours = new Set<number>()
  private lateTimer: NodeJS.Timeout | undefined
  private rolling: Promise<void> = Promise.resolve()

  /** Throws `CONFIG_INVALID` for an address that is none. */
  constructor(options: InfluxStoreOptions) {
    const { database = 'faultline', version = 1, retention = defaultRetention, readOnly = false } = options
    this.database = database
    this.version = version
    this.retention = retention
    this.readOnly = readOnly
    this.client = new InfluxClient({ ...options, database })
  }

  /** Makes what is missing, in 1.x. Without the right to, an existing database will do as it is. */
  async start(): Promise<void> {
    if (this.readOnly) return this.findExisting()
    if (this.version > 1) return
    await this.setUp()
  }

  async stop(): Promise<void> {
    clearTimeout(this.lateTimer)
    this.lateTimer = undefined
    this.rollUpLate()
    await this.rolling
  }

  async write(points: readonly TelemetryPoint[]): Promise<readonly RefusedPoint[]> {
    if (this.version === 1 && !this.policies) await this.setUp()
    const { kept, refused } = this.withinRetention(points)
    try {
      refused.push(...(await this.send(kept)))
    } catch (error) {
      // Somebody dropped the database while we ran.
      if (statusOf(error) !== 404 || this.version > 1) throw error
      await this.setUp()
      refused.push(...(await this.send(kept)))
    }
    this.noteLate(kept)
    return refused
  }

  /** Rolls up the points from `from` until `to`, whole hours of them. Throws `StoreError`. */
  async rollUp(from: number, to: number): Promise<void> {
    const [begin, end] = [hourOf(from), hourOf(to - 1) + tierMs.hours]
    const kept = retentionMs(this.retention)
    for (const tier of this.usableTiers()) {
      if (end <= retainedFrom(this.clock) - kept[tier]) continue
      for (const statement of rollUpStatements(this.database, tier, begin, end)) await this.client.command(statement)
    }
  }

  async inferences(query: InferenceQuery = {}): Promise<InferenceRow[]> {
    const where = conditions(query)
    const limit = checkLimit(query.limit)
    const rows = await this.query(`SELECT * FROM "inference" WHERE ${where} ORDER BY time DESC LIMIT ${limit}`)
    return rows.map(row => inferenceRow(pointOfRow(row)))
  }

  async *history({ since, until, ...place }: HistoryQuery): AsyncGenerator<InferenceRow[]> {
    const where = conditions({ ...place, until })
    // A page begins where the last one ended, in nanoseconds; the points of that instant that are known come again.
    let from = BigInt(checkTime(since)) * nsPerMs
    let known = new Set<string>()
    for (;;) {
      const rows = await this.client.query(
        `SELECT * FROM "inference" WHERE ${where} AND time >= ${from} ORDER BY time ASC LIMIT ${historyPage}`,
        { precision: 'n' },
      )
      const last = rows.at(-1)
      if (!last) return
      const fresh = rows.filter(row => nanosecondsOf(row) !== from || !known.has(JSON.stringify(row)))
      if (fresh.length > 0) yield fresh.map(row => inferenceRow(pointOfRow(row)))
      if (rows.length < historyPage) return
      // A whole page of one instant cannot be gone past by its end.
      const end = nanosecondsOf(last) === from ? from + 1n : nanosecondsOf(last)
      known = new Set(rows.filter(row => nanosecondsOf(row) === end).map(row => JSON.stringify(row)))
      from = end
    }
  }

  async counts(query: CountQuery): Promise<CountRow[]> {
    const groupBy = checkGroupBy(query.groupBy)
    const where = conditions(query)
    const grouping = groupBy.length > 0 ? ` GROUP BY ${groupBy.map(quoted).join(', ')}` : ''
    const rows = await this.query(
      `SELECT count("latencyMs") AS "count" FROM "inference" WHERE ${where} AND "revision" = 'no'${grouping}`,
    )
    const counts = rows.map(row => ({
      ...Object.fromEntries(groupBy.map(tag => [tag, String(row[tag] ?? '')])),
      count: Number(row.count),
    }))
    return sortCounts(counts, groupBy)
  }

  async audits(query: AuditQuery = {}): Promise<AuditRow[]> {
    const where = conditions(query)
    const rows = await this.query(
      `SELECT count("id") AS "count" FROM "audit" WHERE ${where} GROUP BY "site", "machine", "audited", "finding"`,
    )
    return auditRows(rows.map(row => ({ tags: pointOfRow(row).tags, count: Number(row.count) })))
  }

  async alarms(query: AlarmQuery = {}): Promise<AlarmRow[]> {
    return (await this.newest('alarm', query)).map(alarmRow)
  }

  async updates(query: UpdateQuery = {}): Promise<UpdateRow[]> {
    return (await this.newest('update', query)).map(updateRow)
  }

  async series(query: SeriesQuery): Promise<SeriesBucket[]> {
    const { since, until, every } = checkSeries(query)
    const where = conditions({ ...query, since, until })
    const available = catalogue[query.measurement].rolledUp.filter(tier => this.policies?.has(tier) ?? this.readOnly)
    const tier = query.tier ?? tierFor({ since, every }, available, this.retention)
    const field = (value: string) => quoted(tier === 'raw' ? query.field : `${value}_${query.field}`)
    const mean = tier === 'raw' ? `mean(${field('')})` : `sum(${field('sum')}) / sum(${field('count')})`
    // Without a policy it is the default one, whatever its name is there.
    const source = `${tier === 'raw' ? '' : `${quoted(tier)}.`}${quoted(query.measurement)}`
    const rows = await this.query(
      `SELECT ${mean} AS "mean", min(${field('min')}) AS "min", max(${field('max')}) AS "max" FROM ${source}
        WHERE ${where} GROUP BY time(${every}ms) fill(none)`,
    )
    return rows.map(row => ({
      time: timeOf(row),
      mean: Number(row.mean),
      min: Number(row.min),
      max: Number(row.max),
    }))
  }

  private async newest(measurement: 'alarm' | 'update', query: AlarmQuery | UpdateQuery) {
    const where = conditions(query)
    const limit = checkLimit(query.limit)
    const rows = await this.query(
      `SELECT * FROM ${quoted(measurement)} WHERE ${where} ORDER BY time DESC LIMIT ${limit}`,
    )
    return rows.map(pointOfRow)
  }

  private async setUp(): Promise<void> {
    const { client, database } = this
    try {
      await client.command(`CREATE DATABASE ${escaped.quoted(database)}`)
      const known = new Map(
        (await client.query(`SHOW RETENTION POLICIES ON ${escaped.quoted(database)}`)).map(row => [row.name, row]),
      )
      for (const [name, ms] of policies(this.retention)) {
        const row = known.get(name)
        const asWanted = row?.duration === policyDuration(ms) && (name !== rawPolicy || row.default === true)
        if (!asWanted) await client.command(policyStatement(row ? 'ALTER' : 'CREATE', database, name, ms))
      }
      await this.setUpContinuousQueries()
      this.policies = new Set([rawPolicy, ...tiers])
    } catch (error) {
      if (statusOf(error) === undefined) throw error
      // No right to make anything: an administrator has made it, or there is only the default policy.
      const found = await client.query(`SHOW RETENTION POLICIES ON ${escaped.quoted(database)}`).catch(() => undefined)
      if (!found) throw error
      this.policies = new Set(found.map(row => String(row.name)))
    }
  }

  private async setUpContinuousQueries(): Promise<void> {
    const { client, database } = this
    const shown = await client.query('SHOW CONTINUOUS QUERIES')
    const known =
      shown
        .groups()
        .find(({ name }) => name === database)
        ?.rows.map(row => String(row.name)) ?? []
    const wanted = continuousQueries(database)
    for (const name of known.filter(name => name.startsWith('faultline_'))) {
      if (wanted.some(query => query.name === name)) continue
      await client.command(`DROP CONTINUOUS QUERY ${escaped.quoted(name)} ON ${escaped.quoted(database)}`)
    }
    for (const { name, text } of wanted) if (!known.includes(name)) await client.command(text)
  }

  /** Throws `STORE_NOT_FOUND` where the server has no such database, or it holds nothing. */
  private async findExisting(): Promise<void> {
    // The server names the database in its refusal only; one that is empty and one that is not there are both no store.
    const found = await this.client.query('SHOW MEASUREMENTS').catch(error => {
      if (/database not found/.test((error as Error).message)) return []
      throw error
    })
    if (found.length === 0) {
      const { address } = this.client
      throw new FaultlineError('STORE_NOT_FOUND', `influx at ${address} has no telemetry in "${this.database}"`)
    }
  }

  /** InfluxDB would refuse them one by one. */
  private withinRetention(points: readonly TelemetryPoint[]): { kept: TelemetryPoint[]; refused: RefusedPoint[] } {
    if (!this.policies?.has(rawPolicy)) return { kept: [...points], refused: [] }
    return splitByAge(points, this.retention, this.clock)
  }

  /** Writes points, narrowing down those that the server refuses. */
  private async send(points: readonly TelemetryPoint[]): Promise<RefusedPoint[]> {
    if (points.length === 0) return []
    try {
      await this.client.write(points.map(point => lineOf(storablePoint(point))))
      return []
    } catch (error) {
      if (!(error instanceof StoreError) || error.retryable) throw error
      if (points.length === 1) return [{ point: points[0]!, reason: error.message }]
    }
    // A write may be repeated without harm, so halving the batch finds the refused points.
    const middle = points.length >> 1
    return [...(await this.send(points.slice(0, middle))), ...(await this.send(points.slice(middle)))]
  }

  /** Remembers the hours of points that come too late for the continuous queries. */
  private noteLate(points: readonly TelemetryPoint[]): void {
    const tier = this.usableTiers()[0]
    if (!tier) return
    // A minute less, for the time until the query runs next.
    const before = Date.now() - resampledMs[tier] + tierMs[tier]
    for (const { time } of points) if (time < before) this.lateHours.add(hourOf(time))
    if (this.lateHours.size > 0) this.lateTimer ??= setTimeout(() => this.rollUpLate(), lateRollUpMs).unref()
  }

  private rollUpLate(): void {
    this.lateTimer = undefined
    const hours = [...this.lateHours].sort((a, b) => a - b)
    this.lateHours.clear()
    this.rolling = this.rolling.then(async () => {
      for (const [i, hour] of hours.entries()) {
        try {
          await this.rollUp(hour, hour + tierMs.hours)
        } catch (error) {
          if (error instanceof StoreError && !error.retryable) continue
          this.upkeep.failed++
          // The store is away; the next late points bring these hours back with theirs.
          for (const left of hours.slice(i)) this.lateHours.add(left)
          return
        }
      }
    })
  }

  private usableTiers(): Tier[] {
    return this.version === 1 ? tiers.filter(tier => this.policies?.has(tier)) : []
  }

  private query(text: string): Promise<Record<string, unknown>[]> {
    return this.client.query(text, { precision: 'ms' })
  }
}

/** Names come from fixed lists; values are quoted, because InfluxDB 3 knows no bound parameters here. */
function conditions(query: Filter): string {
  const where: string[] = []
  for (const tag of filterTags) {
    const value = query[tag]
    if (value !== undefined) where.push(`${quoted(tag)} = ${literal(value)}`)
  }
  // Without an upper bound a query with buckets would end now, and one without them would not: always say both.
  where.push(`time >= ${checkTime(query.since ?? 0)}ms`, `time < ${checkTime(query.until ?? 7_258_118_400_000)}ms`)
  return where.join(' AND ')
}

/** A text of InfluxQL. The package's own `escape.stringLit` leaves backslashes as they are. */
const literal = (text: string): string => `'${text.replace(/[\\']/g, found => `\\${found}`).replaceAll('\n', '\\n')}'`

const hourOf = (time: number): number => time - (time % tierMs.hours)

const quoted = (name: string): string => `"${name}"`

const nsPerMs = 1_000_000n

const nanosecondsOf = (row: Record<string, unknown>): bigint => BigInt((row.time as INanoDate).getNanoTime())

const timeOf = (row: Record<string, unknown>): number => (row.time as Date).getTime()

/** `SELECT *` gives every tag and field the measurement ever had; those this point lacks are null. */
function pointOfRow(row: Record<string, unknown>): Pick<TelemetryPoint, 'tags' | 'fields' | 'time'> {
  const tags: TelemetryPoint['tags'] = {}
  const fields: TelemetryPoint['fields'] = {}
  for (const [name, value] of Object.entries(row)) {
    if (value === null || name === 'time') continue
    const tag = tagNames.find(candidate => candidate === name)
    if (tag) tags[tag] = String(value)
    else if (typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean') fields[name] = value
  }
  return { tags, fields, time: timeOf(row) }
}
