import { join } from 'node:path'
import type * as Protocol from '@faultline/protocol'
import type { ReleasedMessage, ReleasedSchemas } from './format.ts'

type Kind = Protocol.TopicKind
type AnyPayload = Protocol.Payload

/** The parts of `protocol/` that every version has. */
interface Code {
  protocol: typeof Protocol
  jsonSchema: { jsonSchemaOf(schema: unknown): Protocol.JsonSchema }
  payloadSchemas: Record<Kind, unknown>
}

export async function protocolOf(code: string): Promise<Code> {
  const [protocol, jsonSchema, codec] = await Promise.all(
    ['index', 'json-schema', 'codec'].map(name => import(join(code, 'protocol', `${name}.ts`))),
  )
  return { protocol, jsonSchema, payloadSchemas: codec.payloadSchemas }
}

/** Every kind of message as the code of a version sends it, and the forms that differ. */
export function messagesOf({ protocol }: Code): ReleasedMessage[] {
  const { encodePayload, examples, isCbor, topicKinds, topicOf } = protocol
  const message = (kind: Kind, payload: AnyPayload, variant?: string): ReleasedMessage => {
    const bytes = encodePayload(kind, payload as never)
    const topic = topicOf(examples[kind].address)
    const named = { kind, ...(variant !== undefined && { variant }), topic }
    return isCbor(kind)
      ? { ...named, cbor: Buffer.from(bytes).toString('base64') }
      : { ...named, json: JSON.parse(bytes.toString()) }
  }
  const contract = contractOf(protocol)
  const variants = variantsOf(protocol)
    .filter(([, , , since = '1.0']) => since.localeCompare(contract, 'en', { numeric: true }) <= 0)
    .map(([kind, variant, payload]) => message(kind, payload as AnyPayload, variant))
  return [...topicKinds.map(kind => message(kind, examples[kind].payload)), ...variants]
}

/** Version 1.0 did not say which it is. */
export const contractOf = ({ contractVersion }: Partial<typeof Protocol>): string => contractVersion ?? '1.0'

/** `since`: the version of the contract that added what is special. */
type Variant = [kind: Kind, variant: string, payload: object, since?: string]

function variantsOf({ encodeWindow, examples }: typeof Protocol): Variant[] {
  const {
    state,
    health,
    inference,
    escalation,
    verdict,
    'config-reported': reported,
    alarm,
    'server-state': server,
  } = examples
  const { at, online: _, ...running } = state.payload as Extract<typeof state.payload, { online: true }>
  const { server: __, escalationBytes: ___, ...local } = inference.payload
  const image = encodeWindow({ samples: new Float32Array(12).fill(0.5), shape: [2, 2, 3], rateHz: 0 })
  const problem = { code: 'DISK_FULL', message: 'the disk is full', since: alarm.payload.at }
  const suppression = { kind: 'shelved', active: true, until: '2026-03-02T09:15:30.400Z' }
  const error = { code: 'CONFIG_INVALID', message: 'price: found 7, want at most 1' }
  return [
    ['state', 'offline', { online: false, at, boot: running.boot }],
    ['server-state', 'offline', { online: false, at, boot: server.payload.boot }],
    ['verdict', 'rejected', { id: verdict.payload.id, rejected: 'overloaded' }],
    ['escalation', 'image', { ...escalation.payload, window: image }],
    ['inference', 'accepted', { ...local, decidedBy: 'local', outcome: 'accepted', reason: 'confident' }],
    ['config-reported', 'refused', { ...reported.payload, status: 'refused', error }],
    ['alarm', 'shelved', { ...alarm.payload, state: 'shelved', suppression }],
    ['state', 'with problems', { ...state.payload, problems: [problem] }, '1.1'],
    [
      'health',
      'without a disk',
      { ...health.payload, problems: [problem], foreign: 4, queues: { ...health.payload.queues, inMemory: 3 } },
      '1.1',
    ],
    ['config-reported', 'with ignored entries', { ...reported.payload, ignored: ['config.mood'] }, '1.1'],
  ]
}

/** What the readers of a version take, by kind. */
export function schemasOf({ protocol, jsonSchema, payloadSchemas }: Code): ReleasedSchemas {
  const entries = protocol.topicKinds.map(kind => [kind, jsonSchema.jsonSchemaOf(readOf(payloadSchemas[kind]))])
  return Object.fromEntries(entries) as ReleasedSchemas
}

/** What is read of a payload is checked after what is done to it first, of which JSON Schema knows nothing. */
function readOf(schema: unknown): unknown {
  const { def } = (schema as { _zod: { def: { type: string; out?: unknown } } })._zod
  return def.type === 'pipe' ? def.out : schema
}
