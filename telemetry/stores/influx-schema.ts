import { createHash } from 'node:crypto'
import { escape as escaped } from 'influx'
import { catalogue, numbersOf } from '../catalogue.ts'
import { type Measurement, measurements } from '../point.ts'
import { type Retention, retentionMs, type Tier, tierMs, tiers } from '../retention.ts'

/** The retention policy that points are written to, the default one. */
export const rawPolicy = 'raw'

/** How far back a continuous query looks again each time it runs; what comes later is rolled up by the store. */
export const resampledMs: Record<Tier, number> = { minutes: 10 * 60_000, hours: 2 * 3_600_000 }

const every: Record<Tier, string> = { minutes: '1m', hours: '10m' }

export interface ContinuousQuery {
  /** Ends with a digest of the query, so that another version gets another name. */
  name: string
  tier: Tier
  text: string
}

const seconds = (ms: number): string => `${Math.round(ms / 1_000)}s`

/** What a retention policy says in `SHOW RETENTION POLICIES`: `720h0m0s`. */
export const policyDuration = (ms: number): string => {
  const s = Math.round(ms / 1_000)
  return `${Math.floor(s / 3_600)}h${Math.floor((s % 3_600) / 60)}m${s % 60}s`
}

/** The retention policies by name, with their durations in ms. */
export const policies = (retention: Retention): [name: string, ms: number][] => Object.entries(retentionMs(retention))

export function policyStatement(verb: 'CREATE' | 'ALTER', database: string, name: string, ms: number): string {
  const replication = verb === 'CREATE' ? ' REPLICATION 1' : ''
  const isDefault = name === rawPolicy ? ' DEFAULT' : ''
  return `${verb} RETENTION POLICY "${name}" ON ${escaped.quoted(database)} DURATION ${seconds(ms)}${replication}${isDefault}`
}

/** What rolls one measurement up into one tier; a condition on the time goes between its halves. */
function selection(database: string, measurement: Measurement, tier: Tier): { into: string; by: string } {
  const numbers = numbersOf(measurement)
  const { counted } = catalogue[measurement]
  const values = [
    ...(numbers === undefined ? [] : ['sum', 'count', 'min', 'max'].map(name => `${name}(/${numbers}/)`)),
    ...(counted === undefined ? [] : [`count("${counted}") AS "count_${counted}"`]),
  ].join(', ')
  const path = (policy: string) => `${escaped.quoted(database)}."${policy}"."${measurement}"`
  return {
    into: `SELECT ${values} INTO ${path(tier)} FROM ${path(rawPolicy)}`,
    by: `GROUP BY time(${seconds(tierMs[tier])}), *`,
  }
}

const rolledUp = (tier: Tier): Measurement[] => measurements.filter(name => catalogue[name].rolledUp.includes(tier))

export function continuousQueries(database: string): ContinuousQuery[] {
  return tiers.flatMap(tier =>
    rolledUp(tier).map(measurement => {
      const { into, by } = selection(database, measurement, tier)
      const resample = `RESAMPLE EVERY ${every[tier]} FOR ${seconds(resampledMs[tier])}`
      const digest = createHash('sha1').update(`${resample} ${into} ${by}`).digest('hex').slice(0, 8)
      const name = `faultline_${tier}_${measurement}_${digest}`
      const text = `CREATE CONTINUOUS QUERY "${name}" ON ${escaped.quoted(database)} ${resample} BEGIN ${into} ${by} END`
      return { name, tier, text }
    }),
  )
}

/** Rolls up what lies from `from` until `to` (ms, whole buckets), as the continuous queries would have at the time. */
export const rollUpStatements = (database: string, tier: Tier, from: number, to: number): string[] =>
  rolledUp(tier).map(measurement => {
    const { into, by } = selection(database, measurement, tier)
    return `${into} WHERE time >= ${from}ms AND time < ${to}ms ${by}`
  })

/** Everything that is set up in a database of InfluxDB 1, for one who may. */
export const influxSetUp = (database: string, retention: Retention): string[] => [
  `CREATE DATABASE ${escaped.quoted(database)}`,
  ...policies(retention).map(([name, ms]) => policyStatement('CREATE', database, name, ms)),
  ...continuousQueries(database).map(({ text }) => text),
]
