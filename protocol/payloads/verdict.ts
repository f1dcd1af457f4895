import { z } from 'zod'
import { identifier, messageId } from '../identifiers.ts'
import { label, milliseconds, modelReference, probability } from './common.ts'

export const rejectionReasons = ['overloaded', 'expired', 'no-model', 'bad-window'] as const

const answered = z.strictObject({
  id: messageId,
  label,
  confidence: probability,
  probabilities: z.array(probability).min(2).max(10_000),
  model: modelReference,
  agent: identifier.describe('The server agent that answered'),
  queueMs: milliseconds,
  inferMs: milliseconds,
})

const rejected = z.strictObject({
  id: messageId,
  rejected: z.enum(rejectionReasons),
  agent: identifier.optional(),
  retryAfterMs: milliseconds.optional(),
})

/** The server agent's answer to one escalation: a classification, or why there is none. */
export const verdict = z.union([answered, rejected])

export type Verdict = z.infer<typeof verdict>
export type AnsweredVerdict = z.infer<typeof answered>
export type RejectedVerdict = z.infer<typeof rejected>
export const isRejected = (value: Verdict): value is RejectedVerdict => 'rejected' in value
