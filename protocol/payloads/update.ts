import { z } from 'zod'
import { identifier, messageId } from '../identifiers.ts'
import { openEnum } from '../open-enum.ts'
import { publicKeyText, signatureText } from '../signature.ts'
import { count, probability, refusal, timestamp } from './common.ts'

/** Of one chunk: small enough for a slow link and a full set of brokers. */
export const maxChunkBytes = 32_768
/** Of what a device may ask for at once. */
export const maxRequestBytes = 524_288
/** Of an archive: an agent package is about 70 MB. */
export const maxArchiveBytes = 268_435_456

export const updateDigest = z.string().regex(/^sha256:[0-9a-f]{64}$/)

const common = {
  id: messageId.describe('Of the rollout; the same for all its devices'),
  name: identifier.describe('Of the bundle, or of the package'),
  version: z.string().min(1).max(64).describe('Its version'),
  digest: updateDigest.describe('What the device reports once it runs it: of bundle.json, or of the package'),
  archive: z
    .object({
      bytes: z.int().positive().max(maxArchiveBytes).describe('Its length'),
      sha256: updateDigest.describe('Of the whole file'),
    })
    .describe('The tar.gz that is fetched in chunks'),
  signature: z
    .object({
      publicKey: publicKeyText.describe('Ed25519 key of the signer, base64url'),
      signature: signatureText.describe('Of "faultline KIND DIGEST", base64url'),
    })
    .describe('Devices take it only from keys that they trust'),
  probation: z
    .object({
      seconds: z.number().positive().max(604_800).describe('How long it is watched at least'),
      windows: z.int().positive().max(1_000_000).describe('Windows that it has to judge at least'),
      disagreement: probability.describe(
        'Share of accepted windows that servers may contradict; that of the model before where it was certainly higher',
      ),
    })
    .describe('What it has to stand before the device keeps it'),
}

/** What a device should run. Retained: a device that is away finds it when it comes. */
export const updateOffer = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('bundle').describe('A model'),
    ...common,
    task: identifier.describe('What the model decides'),
  }),
  z.object({
    kind: z.literal('agent').describe('The software of the device'),
    ...common,
    architecture: z.enum(['arm64', 'x64']).describe('The processors it is for'),
  }),
])

/** A part of an archive that a device wants next. */
export const updateRequest = z.object({
  id: messageId.describe('Of the offer'),
  sha256: updateDigest.describe('Of the archive'),
  offset: count.describe('Of the first byte: what the device has so far'),
  bytes: z.int().positive().max(maxRequestBytes).describe('How many from there'),
})

/** A piece of it: a CBOR map. */
export const updateChunk = z.object({
  id: messageId.describe('Of the offer'),
  offset: count.describe('Of its first byte'),
  bytes: z.instanceof(Uint8Array).describe('At most 32 KiB'),
})

/** States of an update, in their order; the last three are the end of it. */
export const updateStates = [
  'downloading',
  'verifying',
  'trying',
  'switching',
  'probation',
  'done',
  'failed',
  'rolled-back',
] as const
export type UpdateState = (typeof updateStates)[number]

/** How far a device is with the last offer. */
export const updateStatus = z.object({
  id: messageId.describe('Of the offer'),
  kind: openEnum(['bundle', 'agent']).describe('What it is'),
  digest: updateDigest.describe('What was offered'),
  at: timestamp.describe('When this message was made'),
  state: openEnum(updateStates).describe(
    'done: it runs and has stood its probation; failed: it never ran; rolled-back: it ran, and what was before runs again',
  ),
  received: count.optional().describe('Bytes of the archive that are on the device, while downloading'),
  bytes: count.optional().describe('Of the whole archive, while downloading'),
  probation: z
    .object({
      seconds: z.number().nonnegative().describe('Since it began'),
      windows: count.describe('Windows judged'),
      audits: count.describe('Accepted windows that a server judged too'),
      wrong: count.describe('Of them, those that it gave another label'),
    })
    .optional()
    .describe('What was seen on probation'),
  error: refusal.optional().describe('Why it failed or was rolled back'),
})

export type UpdateOffer = z.infer<typeof updateOffer>
export type UpdateRequest = z.infer<typeof updateRequest>
export type UpdateChunk = z.infer<typeof updateChunk>
export type UpdateStatus = z.infer<typeof updateStatus>
