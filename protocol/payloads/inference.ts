import { z } from 'zod'
import { identifier, messageId } from '../identifiers.ts'
import { openEnum } from '../open-enum.ts'
import {
  count,
  fromBacklog,
  label,
  milliseconds,
  modelReference,
  namesNoFault,
  probability,
  reason,
  timestamp,
} from './common.ts'

/** How a window ended. Every window ends in exactly one of these; `pending` is the only state before. */
export const outcomes = ['accepted', 'answered', 'late', 'rejected', 'offline', 'withheld'] as const
export const outcome = openEnum(outcomes)
export type Outcome = (typeof outcomes)[number]

/** Whose answer the final one can be. */
export const deciders = ['local', 'server', 'local-fallback', 'episode'] as const
export type Decider = (typeof deciders)[number]

/** In place of a class, where a model gave no valid answer. It is never "normal", and no fault either. */
export const unknownLabel = 'unknown'

export const localAnswer = z.object({
  label,
  confidence: probability.nullable().describe('Null when the model gave no valid answer'),
  probabilities: z
    .record(label, probability)
    .optional()
    .describe('Of every class; absent without a valid answer, and with more than 16 classes'),
  model: modelReference.describe('The local model'),
})

/** The device's published, final answer for one window. */
export const inference = z.object({
  id: messageId,
  at: timestamp.describe('End of the window'),
  machine: identifier.describe('What the point measures'),
  label,
  confidence: probability.nullable().describe('Null when the local model gave no valid answer and nobody else did'),
  decidedBy: openEnum(deciders).describe(
    'Whose answer it is; local-fallback: the server was asked and did not answer in time; episode: as the server answered windows like it',
  ),
  outcome: outcome.describe('How the window ended'),
  reason: reason.describe('Why the policy accepted or escalated'),
  numbers: z
    .record(z.string(), z.number())
    .optional()
    .describe('The numbers behind the decision: score, threshold, price'),
  local: localAnswer.describe("The local model's answer"),
  server: z
    .object({
      label,
      confidence: probability.describe('Probability of the label'),
      model: modelReference.describe('The server model'),
      agent: identifier.describe('The server agent that answered'),
    })
    .optional()
    .describe("The server model's answer, where there was one"),
  episode: z
    .object({ label, confidence: probability.describe('That of the latest verdict') })
    .optional()
    .describe(
      'While an episode holds: what the server said of the windows before, which stands unless it says otherwise',
    ),
  latencyMs: milliseconds.describe('From the end of the window to this answer'),
  features: z.record(z.string(), z.number()).describe('Signal features; level features in the unit of the signal'),
  escalationBytes: count.optional().describe('Topic and payload of this window as an escalation, sent or not'),
  shaftHz: z.number().positive().optional().describe('Shaft rate in Hz, where known'),
  faults: namesNoFault,
  revises: messageId.optional().describe('The inference this one replaces: a verdict came after the deadline'),
  backlog: fromBacklog,
})

export type Inference = z.infer<typeof inference>
