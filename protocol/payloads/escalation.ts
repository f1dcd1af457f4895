import { z } from 'zod'
import { identifier, messageId } from '../identifiers.ts'
import { label, probability, reason, timestamp } from './common.ts'

export const escalationVersion = 1
export const sampleTypes = ['i16', 'f32', 'u8'] as const
export type SampleType = (typeof sampleTypes)[number]
export const sampleBytes: Record<SampleType, number> = { i16: 2, f32: 4, u8: 1 }

/** The window as it travels: little-endian samples; a sample's value is `scale` x the stored number. */
export const wireWindow = z.object({
  dtype: z.enum(sampleTypes).describe('Type of a stored sample, little-endian'),
  shape: z.array(z.int().positive()).min(1).max(3).describe('Sizes, the last varying fastest'),
  scale: z.number().positive().describe('Physical units per stored unit'),
  rateHz: z.number().nonnegative().describe('Sampling rate in Hz; 0 for an image'),
  bytes: z.instanceof(Uint8Array).describe('The stored samples'),
})

const order = z.number().positive().max(1_000)

/** Defect frequencies of a bearing as multiples of the shaft rate. */
export const defectOrders = z.object({
  bpfo: order.describe('Ball pass frequency, outer race'),
  bpfi: order.describe('Ball pass frequency, inner race'),
  bsf: order.describe('Ball spin frequency; a defect strikes at twice this'),
  ftf: order.describe('Fundamental train frequency: that of the cage'),
})

/** A window on its way up: a CBOR map, because raw samples in JSON would triple the bytes. */
export const escalation = z.object({
  v: z.literal(escalationVersion).describe('Version of this payload'),
  id: messageId,
  at: timestamp.describe('End of the window'),
  machine: identifier.describe('What the point measures'),
  reason: reason.describe('Why the local answer was not accepted'),
  alarm: z
    .literal(true)
    .optional()
    .describe('The last inference of this machine names a fault: it is served before others. Absent where it does not'),
  deadline: timestamp.describe(
    'After this the device no longer waits; on its own clock, as `at` is: only the difference counts',
  ),
  task: identifier.describe('What is to be decided; a server answers with a model of the same task'),
  local: z
    .object({
      label,
      confidence: probability.nullable().describe('Null when the model gave no valid answer'),
      probabilities: z
        .array(z.number().nullable())
        .max(10_000)
        .describe('Model output by class; null where not finite'),
      digest: z.string().describe('Digest of the local model'),
    })
    .describe("The local model's answer"),
  window: wireWindow.describe('The samples'),
  shaftHz: z.number().positive().optional().describe('Shaft rate in Hz, where known'),
  bearing: defectOrders.optional().describe('The bearing it was taken at, where the device was told; orders'),
})

export type Escalation = z.infer<typeof escalation>
export type WireWindow = z.infer<typeof wireWindow>
