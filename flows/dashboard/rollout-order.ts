import { describeIssue, FaultlineError, identifier, newId, type RolloutCommand } from '@faultline/protocol'
import { z } from 'zod'

/** What the Devices page sends to have something done with a rollout. */
const request = z.discriminatedUnion('action', [
  z.strictObject({
    action: z.literal('start'),
    artifact: z.string(),
    site: identifier.optional(),
    canaries: z.array(z.string()).optional(),
    groups: z.array(z.string()).optional(),
    maxFailures: z.string().optional(),
  }),
  z.strictObject({ action: z.enum(['pause', 'resume', 'abort']), rollout: identifier }),
])
export type RolloutRequest = z.infer<typeof request>

/** The command that a request of the page stands for, by whoever is logged in. Throws `MESSAGE_INVALID`. */
export function rolloutOrder(payload: unknown, by: string): { rollout: string; command: Omit<RolloutCommand, 'id'> } {
  const parsed = request.safeParse(payload)
  if (!parsed.success) throw new FaultlineError('MESSAGE_INVALID', `rollout: ${describeIssue(parsed.error, 'payload')}`)
  const asked = parsed.data
  if (asked.action !== 'start') return { rollout: asked.rollout, command: { by, name: asked.action } }
  const { action: name, ...start } = asked
  return { rollout: `page-${newId()}`, command: { by, name, start } }
}
