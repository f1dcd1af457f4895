import { z } from 'zod'
import { identifier, messageId } from '../identifiers.ts'
import { label, milliseconds, modelReference, probability, reason, timestamp } from './common.ts'

/** How a window ended. Every window ends in exactly one of these; `pending` is the only state before. */
export const outcomes = ['accepted', 'answered', 'late', 'rejected', 'offline'] as const
export const outcome = z.enum(outcomes)
export type Outcome = z.infer<typeof outcome>

export const localAnswer = z.strictObject({ label, confidence: probability.nullable(), model: modelReference })

/** The device's published, final answer for one window. */
export const inference = z.strictObject({
  id: messageId,
  at: timestamp.describe('End of the window'),
  machine: identifier,
  label,
  confidence: probability.nullable().describe('Null when the local model gave no valid answer and nobody else did'),
  decidedBy: z.enum(['local', 'server', 'local-fallback']),
  outcome,
  reason,
  numbers: z
    .record(z.string(), z.number())
    .optional()
    .describe('The numbers behind the decision: score, threshold, price'),
  local: localAnswer,
  server: z.strictObject({ label, confidence: probability, model: modelReference, agent: identifier }).optional(),
  latencyMs: milliseconds.describe('From the end of the window to this answer'),
  features: z.record(z.string(), z.number()).describe('Signal features; level features in the unit of the signal'),
  shaftHz: z.number().positive().optional(),
  revises: messageId.optional().describe('The inference this one replaces: a verdict came after the deadline'),
})

export type Inference = z.infer<typeof inference>
