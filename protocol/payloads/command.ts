import { z } from 'zod'
import { messageId } from '../identifiers.ts'
import { refusal, timestamp } from './common.ts'

/** Something to do once. A device answers a repeated id with the result it already gave. */
export const command = z.object({
  id: messageId.describe('Chosen by the sender; a repeated id is not done twice'),
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,62}$/)
    .describe('What to do'),
  args: z.record(z.string(), z.unknown()).default({}).describe('Arguments by name'),
})

export const commandResult = z.object({
  id: messageId.describe('Of the command'),
  name: z.string().describe('Of the command'),
  at: timestamp.describe('When it was done or refused'),
  ok: z.boolean().describe('Whether it was done'),
  result: z.record(z.string(), z.unknown()).optional().describe('What it returned'),
  error: refusal.optional().describe('Why it was not done'),
})

export type Command = z.infer<typeof command>
export type CommandResult = z.infer<typeof commandResult>
