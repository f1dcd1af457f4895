import { FaultlineError } from '@faultline/protocol'
import { type INanoDate, InfluxDB } from 'influx'
import { storablePoint, type TelemetryPoint, tagNames } from '../point.ts'
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

export interface InfluxStoreOptions {
  /** `http://host:8086`; a path and credentials may be part of it. */
  url: string
  /** `faultline` when absent. Created on start. */
  database?: string
  username?: string
  password?: string
  /** For a database that somebody else writes: it is not created, and has to be there. */
  readOnly?: boolean
}

const requestTimeoutMs = 10_000

/** The recorder waits between attempts itself; the client's own back-off would refuse requests meanwhile. */
const noBackOff = { getDelay: () => 0, next: () => noBackOff, reset: () => noBackOff }

/** Telemetry in InfluxDB through its 1.x API. */
export class InfluxStore implements TelemetryStore {
  readonly name = 'influx'
  private readonly database: string
  private readonly address: string
  private readonly client: InfluxDB
  private readonly readOnly: boolean

  /** Throws `CONFIG_INVALID` for an address that is none. */
  constructor(options: InfluxStoreOptions) {
    const url = parseUrl(options.url)
    const https = url.protocol === 'https:'
    this.database = options.database ?? 'faultline'
    this.address = url.host
    this.readOnly = options.readOnly ?? false
    const username = options.username ?? (url.username ? decodeURIComponent(url.username) : undefined)
    const password = options.password ?? (url.password ? decodeURIComponent(url.password) : undefined)
    this.client = new InfluxDB({
      host: url.hostname,
      port: Number(url.port || (https ? 443 : 80)),
      protocol: https ? 'https' : 'http',
      path: url.pathname.replace(/\/+$/, ''),
      database: this.database,
      ...(username !== undefined && { username, password: password ?? '' }),
      pool: { maxRetries: 0, requestTimeout: requestTimeoutMs, backoff: noBackOff },
    })
  }

  /** Creates the database; without the right to, an existing one will do. */
  async start(): Promise<void> {
    if (this.readOnly) return this.findExisting()
    await this.request(async () => {
      try {
        await this.client.createDatabase(this.database)
      } catch (error) {
        if (statusOf(error) === undefined) throw error
        const existing = await this.client.getMeasurements().catch(() => undefined)
        if (!existing) throw error
      }
    })
  }

  async stop(): Promise<void> {}

  async write(points: readonly TelemetryPoint[]): Promise<void> {
    if (points.length === 0) return
    try {
      await this.send(points)
    } catch (error) {
      // Somebody dropped the database while we ran.
      if (statusOf(error) !== 404) throw error
      await this.start()
      await this.send(points)
    }
  }

  async inferences(query: InferenceQuery = {}): Promise<InferenceRow[]> {
    const { where, placeholders } = conditions(query)
    const limit = checkLimit(query.limit)
    const rows = await this.query(
      `SELECT * FROM "inference" WHERE ${where} ORDER BY time DESC LIMIT ${limit}`,
      placeholders,
    )
    return rows.map(row => inferenceRow(pointOfRow(row)))
  }

  async *history({ since, until, ...place }: HistoryQuery): AsyncGenerator<InferenceRow[]> {
    const { where, placeholders } = conditions({ ...place, until })
    // A page begins where the last one ended, in nanoseconds; the points of that instant that are known come again.
    let from = BigInt(checkTime(since)) * nsPerMs
    let known = new Set<string>()
    for (;;) {
      const rows = await this.request(() =>
        this.client.query<Record<string, unknown>>(
          `SELECT * FROM "inference" WHERE ${where} AND time >= ${from} ORDER BY time ASC LIMIT ${historyPage}`,
          { placeholders, precision: 'n' },
        ),
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
    const { where, placeholders } = conditions(query)
    const grouping = groupBy.length > 0 ? ` GROUP BY ${groupBy.map(quoted).join(', ')}` : ''
    const rows = await this.query(
      `SELECT count("latencyMs") AS "count" FROM "inference" WHERE ${where} AND "revision" = 'no'${grouping}`,
      placeholders,
    )
    const counts = rows.map(row => ({
      ...Object.fromEntries(groupBy.map(tag => [tag, String(row[tag] ?? '')])),
      count: Number(row.count),
    }))
    return sortCounts(counts, groupBy)
  }

  async audits(query: AuditQuery = {}): Promise<AuditRow[]> {
    const { where, placeholders } = conditions(query)
    const rows = await this.query(
      `SELECT count("id") AS "count" FROM "audit" WHERE ${where} GROUP BY "site", "machine", "audited", "finding"`,
      placeholders,
    )
    return auditRows(rows.map(row => ({ tags: pointOfRow(row).tags, count: Number(row.count) })))
  }

  async series(query: SeriesQuery): Promise<SeriesBucket[]> {
    const { since, until, every } = checkSeries(query)
    const { where, placeholders } = conditions({ ...query, since, until })
    const field = quoted(query.field)
    const rows = await this.query(
      `SELECT mean(${field}) AS "mean", min(${field}) AS "min", max(${field}) AS "max" FROM ${quoted(query.measurement)}
        WHERE ${where} GROUP BY time(${every}ms) fill(none)`,
      placeholders,
    )
    return rows.map(row => ({
      time: timeOf(row),
      mean: Number(row.mean),
      min: Number(row.min),
      max: Number(row.max),
    }))
  }

  /** Throws `STORE_NOT_FOUND` where the server has no such database, or it holds nothing. */
  private async findExisting(): Promise<void> {
    // The server names the database in its refusal only; one that is empty and one that is not there are both no store.
    const measurements = await this.request(() => this.client.getMeasurements()).catch(error => {
      if (/database not found/.test((error as Error).message)) return []
      throw error
    })
    if (measurements.length === 0)
      throw new FaultlineError('STORE_NOT_FOUND', `influx at ${this.address} has no telemetry in "${this.database}"`)
  }

  private send(points: readonly TelemetryPoint[]): Promise<void> {
    const lines = points.map(storablePoint).map(({ measurement, tags, fields, time, offset }) => ({
      measurement,
      tags: tags as Record<string, string>,
      fields,
      // Nanoseconds as text: they do not fit a JavaScript number.
      timestamp: `${time}${String(offset).padStart(6, '0')}`,
    }))
    return this.request(() => this.client.writePoints(lines, { precision: 'n' }))
  }

  private query(text: string, placeholders: Record<string, string>): Promise<Record<string, unknown>[]> {
    return this.request(() => this.client.query<Record<string, unknown>>(text, { placeholders, precision: 'ms' }))
  }

  private request<T>(work: () => Promise<T>): Promise<T> {
    return storeRequest(`influx at ${this.address}`, async () => {
      try {
        return await work()
      } catch (error) {
        if (!isRefusal(statusOf(error))) throw error
        throw new StoreError(`influx at ${this.address}: ${(error as Error).message}`, {
          cause: error,
          retryable: false,
        })
      }
    })
  }
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url
  throw new FaultlineError('CONFIG_INVALID', 'the address of InfluxDB must be like http://host:8086')
}

/** 400, 413 and 422 speak of the request itself; everything else (rights, load, outage) may pass. */
const isRefusal = (status: number | undefined): boolean => status === 400 || status === 413 || status === 422

/** The HTTP status of a refused request, read from the client's error or from the cause of ours. */
function statusOf(error: unknown): number | undefined {
  const own = error instanceof StoreError ? error.cause : error
  return (own as { res?: { statusCode?: number } } | undefined)?.res?.statusCode
}

/** Values go as bound parameters and never into the text of the query; names come from fixed lists. */
function conditions(query: Place & { since?: number; until?: number }): {
  where: string
  placeholders: Record<string, string>
} {
  const where: string[] = []
  const placeholders: Record<string, string> = {}
  for (const tag of placeTags) {
    const value = query[tag]
    if (value === undefined) continue
    where.push(`${quoted(tag)} = $${tag}`)
    placeholders[tag] = value
  }
  // Without an upper bound a query with buckets would end now, and one without them would not: always say both.
  where.push(`time >= ${checkTime(query.since ?? 0)}ms`, `time < ${checkTime(query.until ?? 7_258_118_400_000)}ms`)
  return { where: where.join(' AND '), placeholders }
}

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
