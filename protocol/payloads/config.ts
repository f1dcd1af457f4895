import { z } from 'zod'
import { since } from '../contract.ts'
import { encoderSchema, readAs, unknownFields } from '../encoder-schema.ts'
import { identifier } from '../identifiers.ts'
import { budget } from './budget.ts'
import { count, refusal, timestamp } from './common.ts'
import { priceList } from './prices.ts'

/** A rate, or a bound to be reached with as few audits as will do. */
const auditRate = z.union([
  z.number().min(0).max(1),
  z.object({
    missedFaultsAtMost: z
      .number()
      .positive()
      .max(0.5)
      .describe('Share of the windows accepted as normal that may hide a fault, at 95 %'),
    withinDays: z.number().positive().max(3_650).describe('Days until the audits of every machine are to say so'),
  }),
])

const episodes = z.union([
  z.literal('off'),
  z.object({
    agreeing: z.int().min(1).max(100).describe('Verdicts in a row that have to agree before asking stops'),
    holdS: z.number().positive().max(604_800).describe('Seconds until one is asked for again'),
  }),
])

const interval = z.number().nonnegative().max(86_400)

/** Which windows are judged. */
const pace = z.object({
  everyS: interval
    .optional()
    .describe('Least seconds from one window of a point to the next; 0 or absent: all of its source'),
  healthyEveryS: interval
    .optional()
    .describe('The same while its last 20 windows were normal, for fewer inferences; as everyS when absent'),
  paused: z.array(identifier).max(1_024).optional().describe('Points whose windows are not judged'),
})

/** What an operator may change while the agent runs. Everything is optional: what is absent stays as it is. */
export const runtimeConfig = z.object({
  policy: z
    .object({
      name: z.string().min(1).max(63).describe('One of the policy reference'),
      parameters: z.record(z.string(), z.unknown()).default({}).describe("The policy's own parameters"),
    })
    .optional()
    .describe('Decides whether the local answer is accepted or the window escalated'),
  price: z.number().positive().max(1).optional().describe('Cost of one escalation, in wrong accepted answers (beta)'),
  prices: priceList.nullable().optional().describe('What things cost; takes the place of `price`. Null: `price` holds'),
  budget: budget
    .nullable()
    .optional()
    .describe('Bytes in any 24 hours that are never exceeded on a metered link. Null: none'),
  auditRate: auditRate.optional().describe('Share of accepted windows escalated anyway, or what it is to prove'),
  episodes: episodes.optional().describe('When to stop asking about what a server has just answered'),
  deadlineMs: z.int().positive().max(600_000).optional().describe('How long to wait for a verdict'),
  reporting: z
    .enum(['every', 'exception'])
    .optional()
    .describe('Publish every inference, or only changes with summaries in between'),
  summaryIntervalS: z.number().positive().max(86_400).optional().describe('Seconds from one summary to the next'),
  pace: pace.optional().describe('Which windows are judged; {}: every one'),
  healthIntervalS: z.number().positive().max(86_400).optional().describe('Seconds from one health to the next'),
  sources: z
    .record(identifier, z.looseObject({ kind: z.string().min(1).max(63).describe('As in the file of the device') }))
    .optional()
    .describe("Sources of points by name, in place of those of the device's file; {}: those of the file"),
})

const desired = {
  revision: count.describe('Grows by one with every change'),
  config: runtimeConfig.describe('What is absent stays as it is'),
}
const written = encoderSchema(z.object(desired))

/**
 * What an operator wants a device to run with. A device reads, beside it, the paths of entries that it does not know: it
 * passes over them, but says so.
 */
export const configDesired = readAs(
  z.preprocess(
    value => {
      const ignored = unknownFields(written, value)
      return ignored.length > 0 ? { ...(value as object), ignored } : value
    },
    z.object({ ...desired, ignored: z.array(z.string()).optional() }),
  ),
  written,
)

/** The device's answer: the revision it saw, whether it applied it, and the configuration now in force. */
export const configReported = z.object({
  revision: count.describe('The desired revision this answers'),
  at: timestamp.describe('When it was applied or refused'),
  status: z.enum(['applied', 'refused']).describe('A refused configuration changes nothing'),
  error: refusal.optional().describe('Why it was refused'),
  ignored: since(
    '1.1',
    z
      .array(z.string().min(1).max(300))
      .max(100)
      .optional()
      .describe('Entries of the desired configuration that this version of the device does not know and passed over'),
  ),
  config: runtimeConfig.describe('The configuration in force'),
})

export type RuntimeConfig = z.infer<typeof runtimeConfig>
export type ConfigDesired = z.infer<typeof configDesired>
export type ConfigReported = z.infer<typeof configReported>
