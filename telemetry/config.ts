import { FaultlineError, type Identity, parseIdentity } from '@faultline/protocol'
import { brokerAccess } from '@faultline/runtime'
import { z } from 'zod'
import type { TelemetryStore } from './store.ts'
import { InfluxStore } from './stores/influx.ts'
import { SqliteStore } from './stores/sqlite.ts'

export const storeSettings = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('sqlite').describe('An embedded database: one file, no server'),
    path: z.string().min(1).describe('The file; made when missing'),
    retentionDays: z
      .number()
      .positive()
      .max(36_500)
      .optional()
      .describe('Age at which points are deleted; never when absent'),
  }),
  z.strictObject({
    kind: z.literal('influx').describe('InfluxDB through its 1.x API'),
    url: z.url({ protocol: /^https?$/ }).describe('Address of the 1.x API, such as http://127.0.0.1:8086'),
    database: z.string().min(1).max(63).default('faultline').describe('Created when missing'),
    username: z.string().min(1).optional().describe('None where the database asks for none'),
    password: z.string().optional().describe('Of that user'),
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
      maxPoints: z.int().min(1).max(5_000).default(500).describe('Points in one write'),
      maxDelayMs: z.int().min(0).max(60_000).default(1_000).describe('How long a point waits for others'),
    })
    .optional()
    .describe('Points are written together'),
  capacity: z.int().min(1_000).max(1_000_000).default(50_000).describe('Points kept in memory while the store is away'),
})

export type StoreSettings = z.input<typeof storeSettings>
export type RecorderConfig = z.infer<typeof recorderConfig>

/** A store that others write is opened with `readOnly`; its start throws `STORE_NOT_FOUND` where there is none. */
export const createStore = (settings: StoreSettings, { readOnly = false } = {}): TelemetryStore =>
  settings.kind === 'sqlite' ? new SqliteStore({ ...settings, readOnly }) : new InfluxStore({ ...settings, readOnly })

/** The identity a recorder's configuration names. Throws `CONFIG_INVALID` for one of another role. */
export function recorderIdentity(name: string): Identity {
  const identity = parseIdentity(name)
  if (identity.role === 'recorder') return identity
  throw new FaultlineError('CONFIG_INVALID', `broker.identity: "${name}" is a ${identity.role}, not recorders/{id}`)
}
