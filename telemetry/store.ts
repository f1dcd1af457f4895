import {
  type AuditCounts,
  auditFindings,
  FaultlineError,
  missedAtMost,
  noAudits,
  withFinding,
} from '@faultline/protocol'
import type { Service, SteadyClock } from '@faultline/runtime'
import { type FieldValue, fieldsNamed, type Measurement, type TelemetryPoint } from './point.ts'
import { dayMs, type Retention, type Tier, tierMs } from './retention.ts'

/** A point that a store will never take, or the text of one that could not be read back. */
export interface RefusedPoint {
  point: TelemetryPoint | string
  reason: string
}

export interface Upkeep {
  setAside: number
  failed: number
}

/**
 * Where telemetry is kept. Every method throws `STORE_FAILED` (as `StoreError`) and nothing else, except that
 * the start of a store opened read-only throws `STORE_NOT_FOUND` where there is none. Times are in
 * milliseconds since 1970; `since` is included, `until` is not.
 */
export interface TelemetryStore extends Service {
  readonly name: string
  /** Since the start: damaged files that were set aside, and deletions and roll-ups in the background that failed. */
  readonly upkeep: Readonly<Upkeep>
  /**
   * Writes points and resolves with those that it refuses for good; throws where it cannot be asked, and then the same points
   * may be written again without harm. A point of the same measurement, tags, time and offset as one that is there is the
   * same point: its fields are replaced, and it counts once.
   */
  write(points: readonly TelemetryPoint[]): Promise<readonly RefusedPoint[]>
  /**
   * Rolls up the points of these times, at least, now. It happens by itself within minutes; in InfluxDB 2 and 3 this does nothing.
   */
  rollUp(from: number, until: number): Promise<void>
  /** Inferences, revisions included, newest first. */
  inferences(query?: InferenceQuery): Promise<InferenceRow[]>
  /**
   * Inferences, revisions included, oldest first and in pages, for what looks at more of them than fit into memory. Those of
   * one millisecond come in any order. Stops reading when the loop over it ends.
   */
  history(query: HistoryQuery): AsyncIterable<InferenceRow[]>
  /** Windows counted by tags, in the order of the tags' values. A revision is not another window: it is left out. */
  counts(query: CountQuery): Promise<CountRow[]>
  /**
   * What answered audits found, by site, machine and local model, in that order. A window whose verdict came late counts
   * as one whose verdict came in time.
   */
  audits(query?: AuditQuery): Promise<AuditRow[]>
  /** What was said of alarms, newest first. A count that grew is said, too: what changed is for the reader to see. */
  alarms(query?: AlarmQuery): Promise<AlarmRow[]>
  /** What devices said of their updates, newest first. */
  updates(query?: UpdateQuery): Promise<UpdateRow[]>
  /** A numeric field over time: one bucket per `every` ms in which something was recorded, oldest first. */
  series(query: SeriesQuery): Promise<SeriesBucket[]>
}

export const placeTags = ['site', 'device', 'point', 'machine'] as const
export type Place = Partial<Record<(typeof placeTags)[number], string>>

/** What queries may narrow down to; `fault` only where there are alarms. */
export const filterTags = [...placeTags, 'fault'] as const
export type Filter = Partial<Record<(typeof filterTags)[number], string>> & { since?: number; until?: number }

export interface InferenceQuery extends Place {
  since?: number
  until?: number
  /** 100 when absent, at most 10,000. */
  limit?: number
}

export interface HistoryQuery extends Place {
  since: number
  until: number
}

/** Inferences in one page of a history. */
export const historyPage = 5_000

export const countTags = [...placeTags, 'label', 'decidedBy', 'outcome'] as const
export type CountTag = (typeof countTags)[number]

export interface CountQuery extends Place {
  since?: number
  until?: number
  groupBy: readonly CountTag[]
}

export type CountRow = Partial<Record<CountTag, string>> & { count: number }

export interface AuditQuery extends Place {
  since?: number
  until?: number
}

export interface AuditRow extends AuditCounts {
  site: string
  machine: string
  /** Digest of the local model whose answers were audited. */
  model: string
  /** At most this share of the windows accepted as normal hides a fault, at 95 %. */
  missedAtMost: number
}

export interface AlarmQuery {
  site?: string
  machine?: string
  fault?: string
  since?: number
  until?: number
  /** 100 when absent, at most 10,000. */
  limit?: number
}

/** An alarm as one message told of it. */
export interface AlarmRow {
  time: number
  site: string
  machine: string
  fault: string
  /** Of ISA-18.2, as in the payload. */
  state: string
  priority: string
  /** When the state began, in ms since 1970. */
  since: number
  /** That showed the fault since it was raised. */
  windows: number
  /** While it is out of sight: how, and whether the fault is there. */
  suppression?: { kind: string; active: boolean }
  /** The last thing a person did with it. */
  action?: { name: string; at?: number; by?: string; comment?: string }
  /** Notices since it was raised and not acknowledged, and who got the last one. */
  notified?: { count: number; to: string }
}

export interface UpdateQuery {
  site?: string
  device?: string
  since?: number
  until?: number
  /** 100 when absent, at most 10,000. */
  limit?: number
}

/** An update as one message of its device told of it. */
export interface UpdateRow {
  time: number
  site: string
  device: string
  /** The state of the update, as in the payload. */
  state: string
  /** Identifies the rollout. */
  id: string
  kind: string
  digest: string
  /** Why it failed or was rolled back. */
  errorCode?: string
}

export interface SeriesQuery extends Place {
  measurement: Measurement
  /** Name of a numeric field, such as `feature_rms`. */
  field: string
  since: number
  /** Now when absent. */
  until?: number
  /** Length of a bucket in ms. Buckets begin at multiples of it since 1970. */
  every: number
  /** What to read; when absent the points as long as they reach back to `since`, and else a roll-up that does. */
  tier?: 'raw' | Tier
}

export interface SeriesBucket {
  /** Begin of the bucket. */
  time: number
  mean: number
  min: number
  max: number
}

export interface InferenceRow {
  time: number
  id: string
  site: string
  device: string
  point: string
  machine: string
  label: string
  confidence: number | null
  decidedBy: string
  outcome: string
  reason: string
  latencyMs: number
  local: {
    label: string
    confidence: number | null
    model: string
    digest: string
    /** By class, under names made storable; empty where they were not published. */
    probabilities: Record<string, number>
  }
  server?: { label: string; confidence: number; model: string; agent: string }
  /** Id of the inference that this one replaces. */
  revises?: string
  /** Bytes of the window as an escalation, sent or not. */
  escalationBytes?: number
  shaftHz?: number
  features: Record<string, number>
  numbers: Record<string, number>
}

/** A failed request; whether the same request may succeed later is for the caller to know. */
export class StoreError extends FaultlineError {
  /** False when the store understood and refused: the same points will be refused again. */
  readonly retryable: boolean

  constructor(message: string, options: { cause?: unknown; retryable?: boolean } = {}) {
    super('STORE_FAILED', message, { cause: options.cause })
    this.name = 'StoreError'
    this.retryable = options.retryable ?? true
  }
}

/** Runs a request, so that whatever it throws is a `StoreError` that names the store. */
export async function storeRequest<T>(store: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (cause instanceof StoreError) throw cause
    throw new StoreError(`${store}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

/**
 * What is older than it is kept is counted from here: the earlier of two clocks, so that a wall clock that was set ahead
 * deletes nothing, and one that was ahead when the store was made does not for ever.
 */
export const retainedFrom = (clock: SteadyClock): number => Math.min(Date.now(), clock.now())

/**
 * Points older than raw telemetry is kept are refused: they would be gone at once. So are points as far ahead, and a day at
 * least: they would outlast all others, and be the newest in every answer.
 */
export function splitByAge(
  points: readonly TelemetryPoint[],
  { rawDays }: Retention,
  clock: SteadyClock,
): { kept: TelemetryPoint[]; refused: RefusedPoint[] } {
  const from = retainedFrom(clock) - rawDays * dayMs
  const aheadDays = Math.max(1, rawDays)
  const until = Math.max(Date.now(), clock.now()) + aheadDays * dayMs
  const kept: TelemetryPoint[] = []
  const refused: RefusedPoint[] = []
  for (const point of points) {
    if (point.time < from) refused.push({ point, reason: `older than ${rawDays} days, as long as points are kept` })
    else if (point.time > until) refused.push({ point, reason: `more than ${aheadDays} days ahead of this clock` })
    else kept.push(point)
  }
  return { kept, refused }
}

const refuse = (message: string): never => {
  throw new StoreError(message, { retryable: false })
}

/** The limit of a query. Throws `STORE_FAILED` for one that is not 1 to 10,000. */
export function checkLimit(limit = 100): number {
  return Number.isInteger(limit) && limit >= 1 && limit <= 10_000 ? limit : refuse(`limit ${limit} is not 1 to 10,000`)
}

/** A bound of a time range as whole milliseconds. Throws `STORE_FAILED`. */
export function checkTime(time: number): number {
  return Number.isFinite(time) && Math.abs(time) < 9e12 ? Math.ceil(time) : refuse(`${time} is not a time in ms`)
}

/** Throws `STORE_FAILED` for a tag that cannot be grouped by. */
export function checkGroupBy(tags: readonly CountTag[]): readonly CountTag[] {
  const unknown = tags.find(tag => !countTags.includes(tag))
  return unknown === undefined ? [...new Set(tags)] : refuse(`"${unknown}" is not one of ${countTags.join(', ')}`)
}

const maxBuckets = 10_000

/** Fills in the defaults. Throws `STORE_FAILED` for a name that is none, and for more than 10,000 buckets. */
export function checkSeries(query: SeriesQuery): Required<Pick<SeriesQuery, 'since' | 'until' | 'every'>> {
  const since = checkTime(query.since)
  const until = checkTime(query.until ?? Date.now())
  if (!/^[A-Za-z][\w.-]{0,99}$/.test(query.field)) refuse(`"${query.field}" is not the name of a field`)
  if (!Number.isInteger(query.every) || query.every < 1) refuse(`every ${query.every} is not a whole number of ms`)
  const { tier = 'raw' } = query
  if (tier !== 'raw' && query.every % tierMs[tier] !== 0)
    refuse(`every ${query.every} ms is no whole number of ${tier}`)
  if ((until - since) / query.every > maxBuckets) refuse(`more than ${maxBuckets} buckets; take a longer "every"`)
  return { since, until, every: query.every }
}

/** Puts counts in the order both stores promise: by the values of the tags, in the order asked for. */
export function sortCounts(rows: CountRow[], groupBy: readonly CountTag[]): CountRow[] {
  return rows.sort((a, b) => {
    for (const tag of groupBy) {
      const [left, right] = [a[tag] ?? '', b[tag] ?? '']
      if (left !== right) return left < right ? -1 : 1
    }
    return 0
  })
}

/** The accounts that counted audits add up to. */
export function auditRows(counted: readonly { tags: TelemetryPoint['tags']; count: number }[]): AuditRow[] {
  const accounts = new Map<string, AuditRow>()
  for (const { tags, count } of counted) {
    const finding = auditFindings.find(name => name === tags.finding)
    if (!finding) continue
    const { site = '', machine = '', audited: model = '' } = tags
    const key = [site, machine, model].join('\n')
    const counts = withFinding(accounts.get(key) ?? noAudits, finding, count)
    accounts.set(key, { site, machine, model, ...counts, missedAtMost: missedAtMost(counts) })
  }
  return [...accounts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
}

/** The row of a stored inference. */
export function inferenceRow({ tags, fields, time }: Pick<TelemetryPoint, 'tags' | 'fields' | 'time'>): InferenceRow {
  const confidence = number(fields.confidence)
  return {
    time,
    id: text(fields.id),
    site: text(tags.site),
    device: text(tags.device),
    point: text(tags.point),
    machine: text(tags.machine),
    label: text(tags.label),
    confidence,
    decidedBy: text(tags.decidedBy),
    outcome: text(tags.outcome),
    reason: text(fields.reason),
    latencyMs: number(fields.latencyMs) ?? 0,
    local: {
      label: text(fields.localLabel),
      confidence: number(fields.localConfidence),
      model: text(fields.localModel),
      digest: text(fields.localDigest),
      probabilities: fieldsNamed('probability', fields),
    },
    ...(fields.serverLabel !== undefined && {
      server: {
        label: text(fields.serverLabel),
        confidence: number(fields.serverConfidence) ?? 0,
        model: text(fields.serverModel),
        agent: text(fields.serverAgent),
      },
    }),
    ...(fields.revises !== undefined && { revises: text(fields.revises) }),
    ...(typeof fields.escalationBytes === 'number' && { escalationBytes: fields.escalationBytes }),
    ...(typeof fields.shaftHz === 'number' && { shaftHz: fields.shaftHz }),
    features: fieldsNamed('feature', fields),
    numbers: fieldsNamed('number', fields),
  }
}

/** The row of a stored alarm. */
export function alarmRow({ tags, fields, time }: Pick<TelemetryPoint, 'tags' | 'fields' | 'time'>): AlarmRow {
  const { action, actionMs, actionBy, comment, suppression, notified } = fields
  return {
    time,
    site: text(tags.site),
    machine: text(tags.machine),
    fault: text(tags.fault),
    state: text(tags.state),
    priority: text(fields.priority),
    since: number(fields.sinceMs) ?? time,
    windows: number(fields.windows) ?? 0,
    ...(suppression !== undefined && { suppression: { kind: text(suppression), active: fields.present === true } }),
    ...(action !== undefined && {
      action: {
        name: text(action),
        ...(typeof actionMs === 'number' && { at: actionMs }),
        ...(actionBy !== undefined && { by: text(actionBy) }),
        ...(comment !== undefined && { comment: text(comment) }),
      },
    }),
    ...(typeof notified === 'number' && { notified: { count: notified, to: text(fields.notifiedTo) } }),
  }
}

/** The row of a stored update. */
export function updateRow({ tags, fields, time }: Pick<TelemetryPoint, 'tags' | 'fields' | 'time'>): UpdateRow {
  return {
    time,
    site: text(tags.site),
    device: text(tags.device),
    state: text(tags.state),
    id: text(fields.id),
    kind: text(fields.kind),
    digest: text(fields.digest),
    ...(fields.errorCode !== undefined && { errorCode: text(fields.errorCode) }),
  }
}

const text = (value: FieldValue | undefined): string => (value === undefined ? '' : String(value))
const number = (value: FieldValue | undefined): number | null => (typeof value === 'number' ? value : null)
