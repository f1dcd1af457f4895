import { z } from 'zod'
import { count, timestamp } from './common.ts'

/** What an operator may change while the agent runs. Everything is optional: what is absent stays as it is. */
export const runtimeConfig = z.strictObject({
  policy: z
    .strictObject({ name: z.string().min(1).max(63), parameters: z.record(z.string(), z.unknown()).default({}) })
    .optional(),
  price: z.number().positive().max(1).optional().describe('Cost of one escalation, in wrong accepted answers (beta)'),
  auditRate: z.number().min(0).max(1).optional().describe('Share of accepted windows escalated anyway'),
  deadlineMs: z.int().positive().max(600_000).optional(),
  reporting: z.enum(['every', 'exception']).optional(),
  summaryIntervalS: z.number().positive().max(86_400).optional(),
  healthIntervalS: z.number().positive().max(86_400).optional(),
})

export const configDesired = z.strictObject({ revision: count, config: runtimeConfig })

/** The device's answer: the revision it saw, whether it applied it, and the configuration now in force. */
export const configReported = z.strictObject({
  revision: count,
  at: timestamp,
  status: z.enum(['applied', 'refused']),
  error: z.strictObject({ code: z.string(), message: z.string() }).optional(),
  config: runtimeConfig,
})

export type RuntimeConfig = z.infer<typeof runtimeConfig>
export type ConfigDesired = z.infer<typeof configDesired>
export type ConfigReported = z.infer<typeof configReported>
