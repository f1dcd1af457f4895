import { z } from 'zod'
import { count, modelReference, timestamp } from './common.ts'

const content = {
  at: timestamp.describe('When the latest of it was learned'),
  model: modelReference.shape.digest,
  kind: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/)
    .describe('What the sums stand for; only evidence of one kind adds up'),
  verdicts: z.int().positive().max(1e9).describe('Verdicts behind it'),
  sums: z.array(z.number().min(-1e12).max(1e12)).min(1).max(1_024).describe('Sums over the windows of those verdicts'),
}

/** Retained: the latest takes the place of what the device said before. */
export const evidence = z.object(content)

/** Retained: the evidence of all like machines, each device counted once. */
export const pool = z.object({ ...content, devices: count.min(1).describe('How many have contributed') })

/** How a local model is named in the topic of a pool: the first digits of its digest. */
export const modelLevel = (digest: string): string => digest.replace('sha256:', '').slice(0, 12)

export type EvidencePayload = z.infer<typeof evidence>
export type PoolPayload = z.infer<typeof pool>
