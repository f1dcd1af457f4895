import { z } from 'zod'
import { identifier } from '../identifiers.ts'
import { openCounts } from '../open-enum.ts'
import { count, fromBacklog, label, namesNoFault, range, timestamp } from './common.ts'
import { outcomes } from './inference.ts'

/** What happened at a point over an interval, in place of the inferences that were not published. */
export const summary = z.object({
  from: timestamp.describe('Begin of the interval'),
  to: timestamp.describe('End of the interval'),
  machine: identifier.describe('What the point measures'),
  windows: count.describe('Windows that ended in the interval'),
  labels: z.record(label, count).describe('Windows by final label'),
  outcomes: openCounts(outcomes, count).describe('Windows by how they ended'),
  confidence: range.optional().describe('Absent when no window had a valid answer'),
  features: z.record(z.string(), range).describe('Signal features over the interval'),
  faults: namesNoFault,
  backlog: fromBacklog,
})

export type Summary = z.infer<typeof summary>
