import { z } from 'zod'
import { identifier } from '../identifiers.ts'
import { count, label, range, timestamp } from './common.ts'
import { outcome } from './inference.ts'

/** What happened at a point over an interval, in place of the inferences that were not published. */
export const summary = z.strictObject({
  from: timestamp,
  to: timestamp,
  machine: identifier,
  windows: count,
  labels: z.record(label, count),
  outcomes: z.partialRecord(outcome, count),
  confidence: range.optional().describe('Absent when no window had a valid answer'),
  features: z.record(z.string(), range),
})

export type Summary = z.infer<typeof summary>
