import { engineNames, publicKeyText } from '@faultline/inference'
import { identifier, runtimeConfig } from '@faultline/protocol'
import { brokerAccess, operationsConfig } from '@faultline/runtime'
import { z } from 'zod'
import { archiveConfig } from './archive/config.ts'
import { routes } from './routes.ts'

/** The file a server agent starts from. */
export const serverAgentConfig = z.strictObject({
  server: identifier.describe('The server, as enrolled'),
  broker: brokerAccess({}),
  models: z
    .array(z.string().min(1))
    .min(1)
    .describe(
      'Bundles of server models, or directories of such; what is put there while the agent runs is served once it has proved itself',
    ),
  routes: routes
    .default({})
    .describe('By task, which of several models answers, and which is asked in shadow; the newest answers when absent'),
  engine: z
    .enum(['auto', ...engineNames])
    .default('auto')
    .describe('auto: the first that works here'),
  trustedKeys: z
    .array(publicKeyText)
    .min(1)
    .optional()
    .describe('Public keys as `models -- key` prints them: only bundles signed with one are loaded; all when absent'),
  archive: archiveConfig
    .optional()
    .describe('Keeps windows that were escalated, with both answers, to learn from; none when absent'),
  operations: operationsConfig,
  workers: z
    .int()
    .positive()
    .max(256)
    .optional()
    .describe('Processes that run models, each with all of them; one per core when absent'),
  maxBatch: z
    .int()
    .positive()
    .max(1_024)
    .default(32)
    .describe('Windows a model takes at once, at most: what is fastest is measured at the start'),
  maxDelayMs: z
    .number()
    .min(0)
    .max(1_000)
    .default(0)
    .describe('How long a batch that is not full waits for more, in ms, while a worker is free'),
  maxQueue: z.int().positive().max(100_000).default(256).describe('Escalations that may wait; more are rejected'),
  maxQueueBytes: z
    .int()
    .min(65_536)
    .default(67_108_864)
    .describe('Memory that waiting escalations may take; more are rejected'),
  secondOpinion: z
    .strictObject({
      policy: runtimeConfig.shape.policy
        .unwrap()
        .default({ name: 'default', parameters: {} })
        .describe('Decides whether an answer from here is given, or asked about further up'),
      price: z.number().positive().max(1).default(0.2).describe('Cost of asking, in wrong answers (beta)'),
    })
    .optional()
    .describe('Ask servers above through a bridge about windows the model here is not sure of; never when absent'),
  drainMs: z
    .int()
    .min(0)
    .max(600_000)
    .default(10_000)
    .describe('How long a stop may take to answer what waits, in ms; the rest is rejected'),
})

export type ServerAgentConfig = z.infer<typeof serverAgentConfig>
