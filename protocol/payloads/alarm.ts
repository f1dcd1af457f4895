import { z } from 'zod'
import { identifier, messageId } from '../identifiers.ts'
import { count, label, probability, timestamp } from './common.ts'

/** Alarm states after ISA-18.2 / IEC 62682. `returned-unacknowledged`: the fault went before anybody saw it. */
export const alarmStates = [
  'normal',
  'unacknowledged',
  'acknowledged',
  'returned-unacknowledged',
  'shelved',
  'suppressed',
] as const

/** Retained: one alarm per machine and fault, always as it stands now. */
export const alarm = z.strictObject({
  site: identifier,
  machine: identifier,
  fault: identifier,
  state: z.enum(alarmStates),
  acknowledged: z.boolean(),
  since: timestamp.describe('When the present state began'),
  at: timestamp.describe('When this message was made'),
  count: count.describe('Windows that showed the fault since the alarm was raised'),
  evidence: z
    .array(
      z.strictObject({
        id: messageId,
        at: timestamp,
        device: identifier,
        point: identifier,
        label,
        confidence: probability.nullable(),
        decidedBy: z.enum(['local', 'server', 'local-fallback']),
      }),
    )
    .max(20)
    .describe('The windows that raised it, newest last'),
})

export type Alarm = z.infer<typeof alarm>
export type AlarmState = Alarm['state']
