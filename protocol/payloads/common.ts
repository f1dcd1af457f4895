import { z } from 'zod'
import { since } from '../contract.ts'

export const timestamp = z.iso.datetime().describe('UTC, ISO 8601 with milliseconds')
export const probability = z.number().min(0).max(1).describe('From 0 to 1')
export const label = z.string().min(1).max(64).describe('A class of the task')
export const count = z.int().nonnegative().describe('How many')
export const milliseconds = z.number().nonnegative().describe('Milliseconds')
export const reason = z
  .string()
  .regex(/^[a-z0-9-]{1,64}$/)
  .describe('Machine-readable, kebab-case')

/** Which model spoke: enough to tell two versions apart, and two builds of one version. */
export const modelReference = z.object({
  name: z.string().min(1).max(63).describe("The bundle's name"),
  version: z.string().min(1).max(32).describe("The bundle's version"),
  digest: z
    .string()
    .regex(/^sha256:[0-9a-f]{12,64}$/)
    .describe('Digest of the bundle description, possibly shortened'),
})

/** Of an answer or answers: absent where they name the state of a machine. */
export const namesNoFault = z
  .literal(false)
  .optional()
  .describe('False where the model knows no normal class: its labels name what it sees, no faults, and raise no alarm')

/** Of reports: absent where they came in their order. */
export const fromBacklog = z
  .literal(true)
  .optional()
  .describe('Sent after later reports of its point, from what waited for a connection: history, which raises no alarm')

export const range = z.object({
  min: z.number().describe('Smallest'),
  mean: z.number().describe('Mean'),
  max: z.number().describe('Largest'),
})

/** Why something was refused, for programs and for people. */
export const refusal = z.object({
  code: z.string().describe('A code of the error reference'),
  message: z.string().describe('One sentence'),
})

const problem = refusal.extend({ since: timestamp.describe('When it began') })

/** What is wrong with a device itself, as opposed to its sensors and machines. */
export const problems = since(
  '1.1',
  z
    .array(problem)
    .max(16)
    .optional()
    .describe('What is wrong with the device itself: its disk, its identity; absent where nothing is'),
)

export type Problem = z.infer<typeof problem>
export type ModelReference = z.infer<typeof modelReference>
export type Range = z.infer<typeof range>
