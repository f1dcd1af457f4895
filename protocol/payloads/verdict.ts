import { z } from 'zod'
import { identifier, messageId } from '../identifiers.ts'
import { openEnum } from '../open-enum.ts'
import { label, milliseconds, modelReference, probability } from './common.ts'

export const rejectionReasons = ['overloaded', 'expired', 'no-model', 'bad-window'] as const

const answered = z.object({
  id: messageId.describe('Of the escalation'),
  label,
  confidence: probability.describe('Probability of the label'),
  probabilities: z.array(probability).min(2).max(10_000).describe('Of every class, in the order of the server model'),
  model: modelReference.describe('The server model'),
  agent: identifier.describe('The server agent that answered'),
  queueMs: milliseconds.describe('Waited at the server agent, in ms'),
  inferMs: milliseconds.describe('Took the server model, in ms'),
})

const rejected = z.object({
  id: messageId.describe('Of the escalation'),
  rejected: openEnum(rejectionReasons).describe('Why there is no classification'),
  agent: identifier.optional().describe('The server agent that rejected it'),
  retryAfterMs: milliseconds.optional().describe('Escalate nothing more for so long, in ms'),
})

/** The server agent's answer to one escalation: a classification, or why there is none. */
export const verdict = z.union([answered, rejected])

export type Verdict = z.infer<typeof verdict>
export type AnsweredVerdict = z.infer<typeof answered>
export type RejectedVerdict = z.infer<typeof rejected>
export const isRejected = (value: Verdict): value is RejectedVerdict => 'rejected' in value
