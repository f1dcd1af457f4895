import { z } from 'zod'
import { since } from '../contract.ts'
import { identifier } from '../identifiers.ts'
import { openEnum } from '../open-enum.ts'
import { count, milliseconds, probability, problems, refusal, timestamp } from './common.ts'

/** Mutually exclusive since the agent's start: windows = accepted + answered + late + rejected + offline + withheld + pending. */
export const counters = z
  .object({
    windows: count.describe('All windows'),
    accepted: count.describe('The local answer was accepted at once'),
    answered: count.describe('A verdict came before the deadline'),
    late: count.describe('The deadline passed; the local answer stands'),
    rejected: count.describe('The server declined; the local answer stands'),
    offline: count.describe('No connection, or servers do not answer at all; the local answer stands'),
    withheld: count.describe('No bytes left in the budget; the local answer stands'),
    pending: count.describe('Escalated, no verdict yet'),
  })
  .refine(c => c.windows === c.accepted + c.answered + c.late + c.rejected + c.offline + c.withheld + c.pending, {
    message: 'counters must sum to windows',
  })

const spent = z.object({
  used: z.number().nonnegative().describe('Bytes in the last 24 hours'),
  left: z.number().nonnegative().describe('Bytes left'),
})

/** What can be wrong with a sensor, as opposed to with the machine. */
export const sensorFaults = ['gap', 'not-finite', 'flat', 'clipped', 'silent', 'failed'] as const
export type SensorFault = (typeof sensorFaults)[number]

/** Sent every few seconds; not stored by the broker. */
export const health = z.object({
  at: timestamp.describe('When this message was made'),
  uptimeS: z.number().nonnegative().describe("Seconds since the agent's start"),
  counters: counters.describe('How the windows since the start ended; the parts sum to windows'),
  audits: count.describe('Escalations that the policy would have accepted, sent to measure what acceptance misses'),
  audited: z
    .array(
      z.object({
        machine: identifier.describe('The machine'),
        audits: count.describe('Audits that were answered'),
        silent: count.describe('Of them, windows that had been accepted as normal'),
        missed: count.describe('Of the silent ones, those in which the server sees a fault'),
        wrong: count.describe('Of all, those that the server gives another label'),
        missedAtMost: probability.describe('Share of the silent windows that hides a fault, at most, at 95 %'),
      }),
    )
    .max(1_024)
    .optional()
    .describe('What answered audits found, per machine, with the local model in use; survives a restart'),
  points: z
    .array(
      z.object({
        point: identifier.describe('The measurement point'),
        fault: openEnum(sensorFaults).describe(
          'gap: samples are missing; not-finite: NaN or infinite; flat: one value; clipped: beyond the range of the sensor; silent: no windows; failed: the source gives an error',
        ),
        since: timestamp.describe('When it began'),
        windows: count.describe('Windows that were not judged because of it'),
        error: refusal.optional().describe('What the source says'),
      }),
    )
    .max(1_024)
    .optional()
    .describe('Points whose sensor is at fault; their windows are not judged and count nowhere'),
  problems,
  revisions: count.describe('Verdicts that came after their deadline and revised an inference'),
  errors: count.describe('Messages and windows refused with a coded error'),
  overruns: count.optional().describe('Windows passed over because the one before was not done in time'),
  foreign: since(
    '1.1',
    count
      .optional()
      .describe(
        'Messages on the topics of sensors that hold no samples, since the sources began; absent where there were none',
      ),
  ),
  queues: z
    .object({
      spool: count.describe('Messages waiting for the connection'),
      pending: count.describe('Escalations waiting for a verdict'),
      dropped: count
        .optional()
        .describe(
          'Messages given up since the start: the spool was full, they too old, the disk failed, or its file was damaged',
        ),
      setAside: count
        .optional()
        .describe('Of those waiting, messages with which the connection broke again and again; not sent any more'),
      inMemory: since(
        '1.1',
        count
          .optional()
          .describe(
            'Of those waiting, messages that the disk does not take: lost when the process ends before it does',
          ),
      ),
    })
    .describe('What waits'),
  roundTripMs: z
    .object({
      median: milliseconds.describe('Median'),
      p95: milliseconds.describe('95th percentile'),
      samples: count.describe('Of how many round trips'),
    })
    .optional()
    .describe('Escalation to verdict, over the recent ones'),
  servers: z
    .object({
      reachable: z
        .boolean()
        .describe('False after five windows in a row without a verdict; one now and then is sent all the same'),
      answeredShare: probability.describe(
        'Of the last windows sent, 50 or ten minutes of them, 1 for fewer than ten; the price of one is divided by it',
      ),
      deadlineMs: milliseconds.describe(
        'In force: the configured one, or four times the 95th percentile where that is less',
      ),
    })
    .optional()
    .describe('What became of the windows sent to servers; absent before the first'),
  bytes: z
    .object({
      sent: count.describe('Topics and payloads of everything published'),
      escalations: count.describe('The part of it that was raw windows'),
      received: count.describe('Topics and payloads of everything received'),
    })
    .describe('Since the start'),
  price: z
    .object({
      value: z.number().positive().max(1).describe('Of escalating the last window, in wrong accepted answers (beta)'),
      link: identifier.optional().describe('Link of the price list that the connection is on'),
      metered: z.boolean().optional().describe('Whether the budget counts what is sent over it'),
      battery: probability.optional().describe('Charge, 0 to 1'),
      serverLoad: probability.optional().describe('Announced wait as a share of the deadline; 1: no answer in time'),
    })
    .optional()
    .describe('Price in force; all but `value` with a price list alone'),
  budget: z
    .object({
      total: spent.describe('Everything published'),
      escalations: spent.describe('The part of it that was raw windows'),
      exploration: spent.describe('The part of that for windows sent to learn from'),
    })
    .optional()
    .describe('Of the budget in force, over metered links'),
  memoryBytes: count.describe('Resident memory of the process'),
  temperatureC: z.number().optional().describe('Of the processor, where it can be read'),
  energyJ: z
    .number()
    .nonnegative()
    .optional()
    .describe('An estimate, not a measurement: windows and bytes times configured constants; absent without them'),
})

export type Counters = z.infer<typeof counters>
export type Health = z.infer<typeof health>
