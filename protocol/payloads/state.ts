import { z } from 'zod'
import { since } from '../contract.ts'
import { identifier } from '../identifiers.ts'
import { openEnum } from '../open-enum.ts'
import { count, milliseconds, modelReference, probability, problems, timestamp } from './common.ts'

export const loadedModel = modelReference.extend({
  task: identifier.describe('What the model decides'),
  role: openEnum(['local', 'server']).describe('Small model on a device, or big one on a server'),
  engine: z.string().describe('The inference engine that runs it'),
  enginesRejected: z
    .array(z.object({ engine: z.string().describe('Its name'), reason: z.string().describe('What went wrong') }))
    .describe('Engines tried before, and why each was passed over'),
})

const commissioning = z.object({
  phase: openEnum(['learning', 'ready']).describe('Nothing is judged while learning'),
  since: timestamp.describe('When learning began'),
  windows: count.describe('Windows learned from'),
  wanted: z.int().positive().describe('Windows it takes at least'),
  effectiveWindows: count.describe('What they are worth: those that resemble their neighbours count for less'),
  waitingFor: openEnum(['windows', 'independence', 'variation'])
    .optional()
    .describe('What learning lacks: windows; windows unlike each other; any difference between them'),
  targetRate: z.number().positive().describe('Share of normal windows that may be above a limit'),
  confidence: probability.describe('With which the rates hold'),
  supportedRate: probability
    .optional()
    .describe('The rate that the learned windows prove, whatever their distribution'),
  limits: z
    .record(
      z.string(),
      z.object({
        centre: z.number().describe('Mean of what was learned'),
        limit: z.number().describe('Largest value that is normal'),
      }),
    )
    .describe('By feature; empty while learning'),
  digest: modelReference.shape.digest.optional().describe('Names these limits; absent while learning'),
})

export const pointState = z.object({
  point: identifier.describe('The measurement point'),
  machine: identifier.describe('What it measures'),
  machineType: identifier.optional().describe('What other machines it is like'),
  rateHz: z.number().nonnegative().describe('Sampling rate in Hz; 0 for images'),
  windowSamples: z.int().positive().describe('Samples in a window; values in an image'),
  commissioning: commissioning.optional().describe('What the point knows of its machine, where it learns it'),
})

const boot = count.describe('Grows by one with every start of the agent')
const at = timestamp.describe('When this message was made')
const contract = since(
  '1.1',
  z
    .string()
    .regex(/^1\.\d{1,4}$/)
    .optional()
    .describe('Version of the contract that it speaks; absent before 1.1'),
)
const agentVersion = z.string().describe('Version of the software')
const models = z.array(loadedModel).describe('The models loaded')

const offline = z.object({
  online: z.literal(false).describe('Stopped, or the connection broke'),
  boot,
  at: at.optional().describe('Absent in the will, which was written long before'),
})

const onlineDevice = z.object({
  online: z.literal(true).describe('Connected'),
  at,
  boot,
  clockSynchronised: z.boolean().describe('Whether the times it sends can be trusted'),
  agentVersion,
  contract,
  agentDigest: modelReference.shape.digest
    .optional()
    .describe('Of the package that the software came in; absent where it came otherwise'),
  certificateUntil: timestamp
    .optional()
    .describe('End of the certificate that it logs in with; absent where it logs in with a secret'),
  models,
  policy: z
    .object({
      name: z.string().describe('One of the policy reference'),
      parameters: z.record(z.string(), z.unknown()).describe("The policy's own parameters"),
    })
    .describe('The policy in force'),
  points: z.array(pointState).describe('What it measures'),
  problems,
})

/** Retained. The offline form is also the will: the broker publishes it when the connection breaks. */
export const deviceState = z.discriminatedUnion('online', [onlineDevice, offline])

const serverModel = loadedModel.extend({
  shadow: z
    .literal(true)
    .optional()
    .describe('Asked beside the one that answers; its answers are recorded and sent to nobody'),
})

const onlineServer = z.object({
  online: z.literal(true).describe('Connected'),
  at,
  boot,
  agentVersion,
  contract,
  models: z.array(serverModel).describe('The models loaded: for each task one that answers, and perhaps a shadow'),
  capacity: z
    .object({
      maxBatch: z.int().positive().describe('Windows inferred at once'),
      maxQueue: z.int().positive().describe('Windows that may wait; more are rejected as overloaded'),
    })
    .describe('What it can take'),
  load: z
    .object({
      queued: count.describe('Windows waiting now'),
      answered: count.describe('Since the start'),
      rejected: count.describe('Since the start'),
      windowsPerSecond: z.number().nonnegative().describe('Taken from the queue, over the last ten seconds'),
      waitMs: milliseconds.optional().describe('What it expects a window that comes now to wait'),
    })
    .describe('What it carries'),
})

/** Retained, and the will, as for devices. */
export const serverState = z.discriminatedUnion('online', [onlineServer, offline])

export type LoadedModel = z.infer<typeof loadedModel>
export type DeviceState = z.infer<typeof deviceState>
export type ServerState = z.infer<typeof serverState>
export type PointState = z.infer<typeof pointState>
