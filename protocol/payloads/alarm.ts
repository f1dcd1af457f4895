import { z } from 'zod'
import { identifier, messageId } from '../identifiers.ts'
import { openEnum } from '../open-enum.ts'
import { count, label, probability, timestamp } from './common.ts'
import { deciders } from './inference.ts'

/** Alarm states after ISA-18.2 / IEC 62682. `returned-unacknowledged`: the fault went before anybody saw it. */
export const alarmStates = [
  'normal',
  'unacknowledged',
  'acknowledged',
  'returned-unacknowledged',
  'shelved',
  'suppressed',
] as const

/** Most urgent first. */
export const alarmPriorities = ['critical', 'high', 'medium', 'low'] as const
export type AlarmPriority = (typeof alarmPriorities)[number]

/** The three ways of ISA-18.2 to take an alarm out of sight: a person for a while, a rule of the plant, maintenance. */
export const suppressions = ['shelved', 'by-design', 'out-of-service'] as const
export type Suppression = (typeof suppressions)[number]

/** What a person, or a flow in a person's place, can do with an alarm. */
export const alarmActions = ['acknowledge', 'shelve', 'unshelve', 'suppress', 'unsuppress', 'comment'] as const
export type AlarmAction = (typeof alarmActions)[number]

/** As many measurement points as an alarm can name. */
export const maxAlarmPoints = 256

const answer = z.object({
  label,
  confidence: probability.nullable().describe('Null when the model gave no valid answer'),
})

const evidence = z.object({
  id: messageId.describe('Of the inference'),
  at: timestamp.describe('End of the window'),
  device: identifier.describe('Which device saw it'),
  point: identifier.describe('At which measurement point'),
  label,
  confidence: probability.nullable().describe('As in the inference'),
  decidedBy: openEnum(deciders).describe('As in the inference'),
  local: answer.optional().describe("The local model's answer"),
  server: answer.optional().describe("The server model's answer, where there was one"),
  features: z.record(z.string(), z.number()).optional().describe('As in the inference'),
})

/** Retained: one alarm per machine and fault, always as it stands now. */
export const alarm = z.object({
  site: identifier.describe('As in the topic'),
  machine: identifier.describe('As in the topic'),
  fault: identifier.describe('As in the topic; a class of the task'),
  state: openEnum(alarmStates).describe('After ISA-18.2'),
  priority: openEnum(alarmPriorities).default('medium').describe('How urgent it is'),
  acknowledged: z.boolean().describe('Whether a person has seen it'),
  since: timestamp.describe('When the present state began'),
  at: timestamp.describe('When this message was made'),
  count: count.describe('Windows that showed the fault since the alarm was raised'),
  evidence: z
    .array(evidence)
    .max(20)
    .describe('The windows that raised it, newest last; those known only from a summary are not among them'),
  points: z
    .array(
      z.object({
        device: identifier.describe('Which device'),
        point: identifier.describe('Which of its measurement points'),
      }),
    )
    .max(maxAlarmPoints)
    .optional()
    .describe('Where the fault was seen and is not over; absent where that is not known'),
  suppression: z
    .object({
      kind: openEnum(suppressions).describe('Shelved by a person, suppressed by design, or out of service'),
      active: z.boolean().describe('Whether the fault is there meanwhile'),
      until: timestamp.optional().describe('When shelving ends by itself'),
    })
    .optional()
    .describe('Only while shelved or suppressed'),
  action: z
    .object({
      name: openEnum(alarmActions).describe('What was done'),
      at: timestamp.describe('When'),
      by: z.string().min(1).max(64).optional().describe('Who did it, where that is known'),
      comment: z.string().max(500).optional().describe('What they wrote'),
    })
    .optional()
    .describe('The last thing that a person did with it'),
  notified: z
    .object({
      count: count.describe('Notifications since it was raised and not acknowledged'),
      at: timestamp.describe('Of the last one'),
      to: z.string().min(1).max(254).describe('Who got it'),
    })
    .optional()
    .describe('Who was told, where the flows notify'),
})

export type Alarm = z.infer<typeof alarm>
export type AlarmState = (typeof alarmStates)[number]
