import { FaultlineError, type Identity, parseIdentity } from '@faultline/protocol'
import { brokerAccess, type Logger, operationsConfig } from '@faultline/runtime'
import { z } from 'zod'
import { retentionConfig } from './retention.ts'
import type { TelemetryStore } from './store.ts'
import { InfluxStore } from './stores/influx.ts'
import { SqliteStore } from './stores/sqlite.ts'

const retention = retentionConfig.optional().describe('How long telemetry is kept')

export const storeSettings = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('sqlite').describe('An embedded database: one file, no server'),
    path: z.string().min(1).describe('The file; made when missing'),
    retention,
  }),
  z.strictObject({
    kind: z.literal('influx').describe('InfluxDB through its 1.x API'),
    url: z.url({ protocol: /^https?$/ }).describe('Address of the 1.x API, such as http://127.0.0.1:8086'),
    version: z
      .union([z.literal(1), z.literal(2), z.literal(3)])
      .default(1)
      .describe(
        'Of the server. In 1.x, database, retention and roll-ups are made; in 2.x and 3.x they are yours to make',
      ),
    database: z
      .string()
      .min(1)
      .max(63)
      .default('faultline')
      .describe('Created when missing; in 2.x the name of a bucket'),
    username: z.string().min(1).optional().describe('None where the database asks for none'),
    password: z.string().optional().describe('Of that user'),
    token: z.string().min(1).optional().describe('In their place in 2.x and 3.x'),
    retention,
  }),
])

export const recorderConfig = z.strictObject({
  broker: brokerAccess({
    identity: z.string().describe('Name of the enrolled identity: recorders/{id}'),
  }),
  store: storeSettings.describe('Where points are kept'),
  normal: z
    .string()
    .min(1)
    .default('normal')
    .describe('The class that means nothing is wrong, for the account of audits'),
  batch: z
    .strictObject({
      maxPoints: z.int().min(1).max(5_000).default(5_000).describe('Points in one write'),
      maxDelayMs: z.int().min(0).max(60_000).default(1_000).describe('How long a point waits for others'),
    })
    .optional()
    .describe('Points are written together'),
  spool: z
    .strictObject({
      directory: z.string().min(1).default('.faultline/recorder').describe('Of this recorder alone; made when missing'),
      maxMegabytes: z.number().min(1).max(1_000_000).default(1_000).describe('Beyond it the oldest points are dropped'),
      maxAgeHours: z.number().positive().max(100_000).default(168).describe('Points that wait longer are dropped'),
    })
    .prefault({})
    .describe('Where points wait on disk until the store has them'),
  operations: operationsConfig,
})

export type StoreSettings = z.input<typeof storeSettings>
export type RecorderConfig = z.infer<typeof recorderConfig>

/** A store that others write is opened with `readOnly`; its start throws `STORE_NOT_FOUND` where there is none. */
export function createStore(
  settings: StoreSettings,
  { readOnly = false, logger }: { readOnly?: boolean; logger?: Logger } = {},
): TelemetryStore {
  const retention = retentionConfig.parse(settings.retention ?? {})
  return settings.kind === 'sqlite'
    ? new SqliteStore({ ...settings, retention, readOnly, ...(logger && { logger }) })
    : new InfluxStore({ ...settings, retention, readOnly })
}

/** The identity a recorder's configuration names. Throws `CONFIG_INVALID` for one of another role. */
export function recorderIdentity(name: string): Identity {
  const identity = parseIdentity(name)
  if (identity.role === 'recorder') return identity
  throw new FaultlineError('CONFIG_INVALID', `broker.identity: "${name}" is a ${identity.role}, not recorders/{id}`)
}
