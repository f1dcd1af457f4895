import { engineNames, publicKeyText } from '@faultline/inference'
import { identifier } from '@faultline/protocol'
import { brokerAccess } from '@faultline/runtime'
import { z } from 'zod'

/** The file a server agent starts from. */
export const serverAgentConfig = z.strictObject({
  server: identifier.describe('The server, as enrolled'),
  broker: brokerAccess({}),
  models: z.array(z.string().min(1)).min(1).describe('Directories of server model bundles, one for each task'),
  engine: z
    .enum(['auto', ...engineNames])
    .default('auto')
    .describe('auto: the first that works here'),
  trustedKeys: z
    .array(publicKeyText)
    .min(1)
    .optional()
    .describe('Public keys as `models -- key` prints them: only bundles signed with one are loaded; all when absent'),
  maxBatch: z.int().positive().max(1_024).default(32).describe('Windows the model takes at once'),
  maxQueue: z.int().positive().max(100_000).default(256).describe('Escalations that may wait; more are rejected'),
})

export type ServerAgentConfig = z.infer<typeof serverAgentConfig>
