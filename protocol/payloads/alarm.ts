import { z } from 'zod'
import { identifier, messageId } from '../identifiers.ts'
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

/** As many measurement points as an alarm can name. */
export const maxAlarmPoints = 256

/** Retained: one alarm per machine and fault, always as it stands now. */
export const alarm = z.strictObject({
  site: identifier.describe('As in the topic'),
  machine: identifier.describe('As in the topic'),
  fault: identifier.describe('As in the topic; a class of the task'),
  state: z.enum(alarmStates).describe('After ISA-18.2'),
  acknowledged: z.boolean().describe('Whether a person has seen it'),
  since: timestamp.describe('When the present state began'),
  at: timestamp.describe('When this message was made'),
  count: count.describe('Windows that showed the fault since the alarm was raised'),
  evidence: z
    .array(
      z.strictObject({
        id: messageId.describe('Of the inference'),
        at: timestamp.describe('End of the window'),
        device: identifier.describe('Which device saw it'),
        point: identifier.describe('At which measurement point'),
        label,
        confidence: probability.nullable().describe('As in the inference'),
        decidedBy: z.enum(deciders).describe('As in the inference'),
      }),
    )
    .max(20)
    .describe('The windows that raised it, newest last; those known only from a summary are not among them'),
  points: z
    .array(
      z.strictObject({
        device: identifier.describe('Which device'),
        point: identifier.describe('Which of its measurement points'),
      }),
    )
    .max(maxAlarmPoints)
    .optional()
    .describe('Where the fault was seen and is not over; absent where that is not known'),
})

export type Alarm = z.infer<typeof alarm>
export type AlarmState = Alarm['state']
