import { z } from 'zod'
import { identifier } from '../identifiers.ts'
import { count, modelReference, timestamp } from './common.ts'

export const loadedModel = modelReference.extend({
  task: identifier,
  role: z.enum(['local', 'server']),
  engine: z.string(),
  enginesRejected: z
    .array(z.strictObject({ engine: z.string(), reason: z.string() }))
    .describe('Engines tried before, and why each was passed over'),
})

export const pointState = z.strictObject({
  point: identifier,
  machine: identifier,
  rateHz: z.number().positive(),
  windowSamples: z.int().positive(),
})

const offline = z.strictObject({ online: z.literal(false), boot: count, at: timestamp.optional() })

const onlineDevice = z.strictObject({
  online: z.literal(true),
  at: timestamp,
  boot: count.describe('Grows by one with every start of the agent'),
  clockSynchronised: z.boolean(),
  agentVersion: z.string(),
  models: z.array(loadedModel),
  policy: z.strictObject({ name: z.string(), parameters: z.record(z.string(), z.unknown()) }),
  points: z.array(pointState),
})

/** Retained. The offline form is also the will: the broker publishes it when the connection breaks. */
export const deviceState = z.discriminatedUnion('online', [onlineDevice, offline])

const onlineServer = z.strictObject({
  online: z.literal(true),
  at: timestamp,
  boot: count,
  agentVersion: z.string(),
  models: z.array(loadedModel),
  capacity: z.strictObject({ maxBatch: z.int().positive(), maxQueue: z.int().positive() }),
  load: z.strictObject({ queued: count, answered: count, rejected: count, windowsPerSecond: z.number().nonnegative() }),
})

/** Retained, and the will, as for devices. */
export const serverState = z.discriminatedUnion('online', [onlineServer, offline])

export type LoadedModel = z.infer<typeof loadedModel>
export type DeviceState = z.infer<typeof deviceState>
export type ServerState = z.infer<typeof serverState>
export type PointState = z.infer<typeof pointState>
