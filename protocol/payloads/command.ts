import { z } from 'zod'
import { messageId } from '../identifiers.ts'
import { timestamp } from './common.ts'

/** Something to do once. A device answers a repeated id with the result it already gave. */
export const command = z.strictObject({
  id: messageId,
  name: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/),
  args: z.record(z.string(), z.unknown()).default({}),
})

export const commandResult = z.strictObject({
  id: messageId,
  name: z.string(),
  at: timestamp,
  ok: z.boolean(),
  result: z.record(z.string(), z.unknown()).optional(),
  error: z.strictObject({ code: z.string(), message: z.string() }).optional(),
})

export type Command = z.infer<typeof command>
export type CommandResult = z.infer<typeof commandResult>
