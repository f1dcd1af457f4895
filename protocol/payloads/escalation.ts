import { z } from 'zod'
import { identifier, messageId } from '../identifiers.ts'
import { label, probability, reason, timestamp } from './common.ts'

export const escalationVersion = 1
export const sampleTypes = ['i16', 'f32', 'u8'] as const
export type SampleType = (typeof sampleTypes)[number]
export const sampleBytes: Record<SampleType, number> = { i16: 2, f32: 4, u8: 1 }

/** The window as it travels: little-endian samples; a sample's value is `scale` x the stored number. */
export const wireWindow = z.strictObject({
  dtype: z.enum(sampleTypes),
  shape: z.array(z.int().positive()).min(1).max(3),
  scale: z.number().positive().describe('Physical units per stored unit'),
  rateHz: z.number().nonnegative().describe('Sampling rate in Hz; 0 for an image'),
  bytes: z.instanceof(Uint8Array),
})

/** A window on its way up: a CBOR map, because raw samples in JSON would triple the bytes. */
export const escalation = z.strictObject({
  v: z.literal(escalationVersion),
  id: messageId,
  at: timestamp.describe('End of the window'),
  machine: identifier,
  reason,
  deadline: timestamp.describe('After this the device no longer waits'),
  task: identifier,
  local: z.strictObject({
    label,
    confidence: probability.nullable(),
    probabilities: z.array(z.number().nullable()).max(10_000),
    digest: z.string(),
  }),
  window: wireWindow,
  shaftHz: z.number().positive().optional(),
})

export type Escalation = z.infer<typeof escalation>
export type WireWindow = z.infer<typeof wireWindow>
