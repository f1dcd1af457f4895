import { z } from 'zod'
import { since } from '../contract.ts'
import { identifier, messageId } from '../identifiers.ts'
import { openCounts, openEnum } from '../open-enum.ts'
import { count, refusal, timestamp } from './common.ts'
import { updateDigest, updateStates } from './update.ts'

/** Of what a rollout service lists. */
const maxArtifacts = 64
/** Of the failures that a rollout names; `groups` counts all of them. */
export const maxNamedFailures = 32
/** Of the groups of a rollout that are told apart: the sizes of all but the last are chosen by a person. */
const maxGroups = 64
const maxDevices = 10_000

const kind = openEnum(['bundle', 'agent']).describe('A model, or the software of the device')
const name = identifier.describe('Of the bundle, or of the package')
const version = z.string().min(1).max(64).describe('Its version')
const artifactDigest = updateDigest.describe('Of bundle.json, or of the package')
const deviceName = z.string().min(1).max(200).describe('Its identity, such as devices/plant-a/press-3')
const by = z.string().min(1).max(200).describe('Who asks for it')
const reason = z.string().max(500)

/**
 * How far a device is in a rollout: what it reports of the update, and before and after that what only the rollout knows.
 * `waiting`: it was not offered anything yet; `offered`: it has not answered; `done`: it says that it is done, but not yet that
 * it runs the digest; `succeeded`: both; `lost`: it came to no end in time; `withdrawn`: the rollout ended first.
 */
export const rolloutDeviceStates = ['waiting', 'offered', ...updateStates, 'succeeded', 'lost', 'withdrawn'] as const

/** `aborted`: by a person, or since too many failed; `stopped`: by a person, in rollouts of earlier versions. */
export const rolloutStates = ['running', 'paused', 'done', 'aborted', 'stopped'] as const

/** Retained. The offline form is also the will of the service. */
export const rolloutService = since(
  '1.1',
  z.discriminatedUnion('online', [
    z.object({
      online: z.literal(true).describe('Runs rollouts, and takes commands'),
      at: timestamp.describe('When this message was made'),
      artifacts: z
        .array(z.object({ kind, name, version, digest: artifactDigest }))
        .max(maxArtifacts)
        .describe('What it can roll out, the newest first'),
    }),
    z.object({ online: z.literal(false).describe('Stopped, or the connection broke: rollouts wait for it') }),
  ]),
)

/** How far a rollout is. Retained. */
export const rollout = since(
  '1.1',
  z.object({
    at: timestamp.describe('When this message was made'),
    artifact: z.object({ kind, name, version, digest: artifactDigest }).describe('What is rolled out'),
    state: openEnum(rolloutStates).describe(
      'paused: devices that have not begun are offered nothing; aborted: by a person, or since too many failed',
    ),
    reason: reason.optional().describe('Why it was paused or ended'),
    by: z.string().max(200).describe('Who started it'),
    startedAt: timestamp.describe('When that was'),
    endedAt: timestamp.optional().describe('When it ended'),
    groups: z
      .array(openCounts(rolloutDeviceStates, count))
      .max(maxGroups)
      .describe('Devices by state, for each group in their order'),
    failures: z
      .array(
        z.object({
          device: deviceName,
          state: openEnum(['failed', 'rolled-back', 'lost']).describe('How it ended'),
          detail: reason.optional().describe('Why'),
        }),
      )
      .max(maxNamedFailures)
      .describe('Devices that failed; not all where there are many'),
  }),
)

const amount = z.string().max(12).describe('A count such as 2, or a share such as 10%')

/** Something to do with a rollout, once: a service answers a repeated id with the result it already gave. */
export const rolloutCommand = since(
  '1.1',
  z.object({
    id: messageId.describe('Chosen by the sender; a repeated id is not done twice'),
    by,
    name: openEnum(['start', 'pause', 'resume', 'abort']).describe('What to do with the rollout of the topic'),
    start: z
      .object({
        artifact: artifactDigest.describe('Digest of one that the service lists'),
        site: identifier.optional().describe('Only the devices of this site'),
        devices: z.array(deviceName).min(1).max(maxDevices).optional().describe('Only these'),
        canaries: z.array(deviceName).max(maxDevices).optional().describe('The devices of the first group'),
        groups: z
          .array(amount)
          .max(maxGroups - 1)
          .optional()
          .describe('Sizes of the first groups; the rest is the last. 1 and 10% when absent'),
        maxFailures: amount
          .optional()
          .describe('More abort it: a count of all, or a share of a group. 10% when absent'),
      })
      .optional()
      .describe('Of `start`: what is rolled out, and to whom'),
  }),
)

/** What came of a command. */
export const rolloutResult = since(
  '1.1',
  z.object({
    id: messageId.describe('Of the command'),
    at: timestamp.describe('When it was done or refused'),
    ok: z.boolean().describe('Whether it was done'),
    error: refusal.optional().describe('Why it was not done'),
  }),
)

export type RolloutStatus = z.infer<typeof rollout>
export type RolloutServiceState = z.infer<typeof rolloutService>
export type RolloutCommand = z.infer<typeof rolloutCommand>
export type RolloutResult = z.infer<typeof rolloutResult>
