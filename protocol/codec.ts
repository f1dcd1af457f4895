import { Decoder, Encoder } from 'cbor-x'
import type { z } from 'zod'
import { encoderSchema } from './encoder-schema.ts'
import { FaultlineError } from './errors.ts'
import { describeIssue } from './issue.ts'
import { cborFault, outlineFault } from './outline.ts'
import { alarm } from './payloads/alarm.ts'
import { command, commandResult } from './payloads/command.ts'
import { configDesired, configReported } from './payloads/config.ts'
import { escalation, escalationVersion } from './payloads/escalation.ts'
import { evidence, pool } from './payloads/evidence.ts'
import { health } from './payloads/health.ts'
import { inference } from './payloads/inference.ts'
import { rollout, rolloutCommand, rolloutResult, rolloutService } from './payloads/rollout.ts'
import { deviceState, serverState } from './payloads/state.ts'
import { summary } from './payloads/summary.ts'
import { updateChunk, updateOffer, updateRequest, updateStatus } from './payloads/update.ts'
import { verdict } from './payloads/verdict.ts'
import { parseTopic, type TopicAddress, type TopicKind } from './topics.ts'

/**
 * What readers accept of each kind of message: fields they do not know are passed over, unknown members of enumerations
 * are read as `other`, so that a later minor version of the contract can add both.
 */
export const payloadSchemas = {
  state: deviceState,
  health,
  'config-desired': configDesired,
  'config-reported': configReported,
  command,
  'command-result': commandResult,
  'update-offer': updateOffer,
  'update-request': updateRequest,
  'update-chunk': updateChunk,
  'update-status': updateStatus,
  inference,
  summary,
  escalation,
  verdict,
  'upstream-escalation': escalation,
  'upstream-verdict': verdict,
  evidence,
  pool,
  'server-state': serverState,
  alarm,
  rollout,
  'rollout-command': rolloutCommand,
  'rollout-result': rolloutResult,
  'rollout-service': rolloutService,
} as const satisfies Record<TopicKind, z.ZodType>

/** What writers keep to: the fields and members that this version lists, and no others. */
export const encoderSchemas = Object.fromEntries(
  Object.entries(payloadSchemas).map(([kind, schema]) => [kind, encoderSchema(schema)]),
) as typeof payloadSchemas

export type Payload<K extends TopicKind = TopicKind> = z.infer<(typeof payloadSchemas)[K]>

/** A message read and checked: its address, and a payload of the type its kind promises. */
export type Message = {
  [K in TopicKind]: { kind: K; address: Extract<TopicAddress, { kind: K }>; payload: Payload<K> }
}[TopicKind]

/** Larger payloads are refused before they are parsed: 1 MiB is a window of 262,144 float samples. */
export const maxPayloadBytes = 1_048_576

/** Whether payloads of a kind are CBOR, those that carry bytes; all others are JSON. */
export const isCbor = (kind: TopicKind): boolean =>
  payloadSchemas[kind] === escalation || payloadSchemas[kind] === updateChunk

const cborEncoder = new Encoder({ useRecords: false, tagUint8Array: false, variableMapSize: true })
const cborDecoder = new Decoder({ useRecords: false, mapsAsObjects: true })

/**
 * The bytes of a payload. Throws `MESSAGE_INVALID` for what every receiver would refuse (a NaN among the features, a
 * confidence a rounding error above 1), so that the mistake shows where it is made.
 */
export function encodePayload<K extends TopicKind>(kind: K, payload: Payload<K>): Buffer {
  checkSchema(encoderSchemas, kind, payload)
  return isCbor(kind) ? cborEncoder.encode(payload) : Buffer.from(JSON.stringify(payload))
}

/**
 * Reads a payload of a known kind. Throws only coded errors: `MESSAGE_TOO_LARGE`, `MESSAGE_MALFORMED`,
 * `MESSAGE_VERSION_UNSUPPORTED`, `MESSAGE_INVALID` (naming the field).
 */
export function decodePayload<K extends TopicKind>(kind: K, bytes: Uint8Array): Payload<K> {
  if (bytes.byteLength > maxPayloadBytes) {
    throw new FaultlineError('MESSAGE_TOO_LARGE', `${kind}: ${bytes.byteLength} bytes, at most ${maxPayloadBytes}`)
  }
  const value = isCbor(kind) ? parseCbor(kind, bytes) : parseJson(kind, bytes)
  return checkSchema(payloadSchemas, kind, value)
}

function checkSchema<K extends TopicKind>(schemas: typeof payloadSchemas, kind: K, value: unknown): Payload<K> {
  const parsed = schemas[kind].safeParse(value)
  if (parsed.success) return parsed.data as Payload<K>
  throw new FaultlineError('MESSAGE_INVALID', `${kind}: ${describeIssue(parsed.error, 'payload')}`)
}

/** Reads a message from its topic and bytes. Throws the errors of `decodePayload`, and `TOPIC_UNKNOWN`. */
export function decodeMessage(topic: string, bytes: Uint8Array): Message {
  const address = parseTopic(topic)
  if (!address) throw new FaultlineError('TOPIC_UNKNOWN', `"${topic.slice(0, 200)}" is not a topic of the contract`)
  return { kind: address.kind, address, payload: decodePayload(address.kind, bytes) } as Message
}

function parseJson(kind: TopicKind, bytes: Uint8Array): unknown {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new FaultlineError('MESSAGE_MALFORMED', `${kind}: not UTF-8 JSON`, { cause })
  }
  const fault = outlineFault(value)
  if (fault) throw new FaultlineError('MESSAGE_MALFORMED', `${kind}: the JSON ${fault}`)
  return value
}

function parseCbor(kind: TopicKind, bytes: Uint8Array): unknown {
  const fault = cborFault(bytes)
  if (fault) throw new FaultlineError('MESSAGE_MALFORMED', `${kind}: the CBOR ${fault}`)
  let value: unknown
  try {
    // A plain view: from a Buffer the decoder would cut Buffers, which compare and copy differently.
    value = cborDecoder.decode(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  } catch (cause) {
    throw new FaultlineError('MESSAGE_MALFORMED', `${kind}: not CBOR`, { cause })
  }
  const version = typeof value === 'object' && value !== null && 'v' in value ? value.v : undefined
  if (payloadSchemas[kind] === escalation && typeof version === 'number' && version !== escalationVersion) {
    throw new FaultlineError(
      'MESSAGE_VERSION_UNSUPPORTED',
      `${kind}: version ${version}, this software speaks ${escalationVersion}`,
    )
  }
  return value
}
