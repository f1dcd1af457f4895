import { z } from 'zod'

const bytes = z.int().positive().max(1e15)

/** What a device may publish over metered links in any 24 hours, MQTT framing included. */
export const budget = z
  .object({
    bytesPerDay: bytes.describe('Everything published; reports beyond it wait on the device'),
    escalationBytesPerDay: bytes.describe('The part of it that raw windows may take'),
    explorationBytesPerDay: z
      .int()
      .nonnegative()
      .max(1e15)
      .describe('The part of that for windows sent to learn from: audits, checks, explorations'),
  })
  .refine(({ bytesPerDay, escalationBytesPerDay }) => escalationBytesPerDay <= bytesPerDay, {
    path: ['escalationBytesPerDay'],
    message: 'is more than bytesPerDay',
  })
  .refine(({ escalationBytesPerDay, explorationBytesPerDay }) => explorationBytesPerDay <= escalationBytesPerDay, {
    path: ['explorationBytesPerDay'],
    message: 'is more than escalationBytesPerDay',
  })

export type Budget = z.infer<typeof budget>
