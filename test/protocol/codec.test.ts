import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  decodeMessage,
  decodePayload,
  encodePayload,
  examples,
  isRejected,
  type Payload,
  payloadSchemas,
  topicKinds,
  topicOf,
} from '@faultline/protocol'
import { cbor, tag } from '../support/cbor.ts'

for (const kind of topicKinds) {
  test(`a message of the kind ${kind} comes back as it was sent`, () => {
    const { address, payload } = examples[kind]
    assert.deepEqual(payloadSchemas[kind].parse(payload), payload)
    assert.deepEqual(decodePayload(kind, encodePayload(kind, payload)), payload)
    assert.deepEqual(decodeMessage(topicOf(address), encodePayload(kind, payload)), { kind, address, payload })
  })
}

test('the offline form of a state is a valid will', () => {
  for (const kind of ['state', 'server-state'] as const) {
    const payload = { online: false, boot: 3 } as const
    assert.deepEqual(decodePayload(kind, encodePayload(kind, payload)), payload)
  }
})

test('a rejected verdict is told from an answered one', () => {
  const rejected: Payload<'verdict'> = { id: 'w', rejected: 'overloaded', retryAfterMs: 500 }
  assert.ok(isRejected(decodePayload('verdict', encodePayload('verdict', rejected))))
  assert.ok(!isRejected(examples.verdict.payload))
})

test('a command without arguments gets none', () => {
  assert.deepEqual(decodePayload('command', Buffer.from('{"id":"1","name":"ping"}')), {
    id: '1',
    name: 'ping',
    args: {},
  })
})

test('the bytes of a window are a Uint8Array, whoever encoded them', () => {
  const { payload } = examples.escalation
  const { window } = payload
  const writings = {
    ours: encodePayload('escalation', payload),
    'a byte string': cbor(payload),
    'bytes tagged as unsigned 8-bit integers (RFC 8746)': cbor({
      ...payload,
      window: { ...window, bytes: tag(64, cbor(window.bytes)) },
    }),
    'a Node Buffer': encodePayload('escalation', {
      ...payload,
      window: { ...window, bytes: Buffer.from(window.bytes) },
    }),
  }
  for (const [name, bytes] of Object.entries(writings)) {
    const decoded = decodePayload('escalation', bytes).window.bytes
    assert.deepEqual(decoded, window.bytes, name)
  }
})

test('every key order and every width of a number is read', () => {
  const { payload } = examples.escalation
  const reversed = Object.fromEntries(Object.entries(payload).reverse())
  assert.deepEqual(decodePayload('escalation', cbor(reversed)), payload)
})

test('a sender cannot send what every receiver would refuse', () => {
  const { payload } = examples.inference
  assert.throws(() => encodePayload('inference', { ...payload, features: { rms: Number.NaN } }), {
    code: 'MESSAGE_INVALID',
    message: /features\.rms/,
  })
  assert.throws(() => encodePayload('inference', { ...payload, confidence: 1.0000001 }), { code: 'MESSAGE_INVALID' })
  const health = examples.health.payload
  assert.throws(() => encodePayload('health', { ...health, counters: { ...health.counters, windows: 1 } }), {
    code: 'MESSAGE_INVALID',
    message: /counters must sum to windows/,
  })
})

test('a refusal names the field, in a union too', () => {
  const refused = (kind: 'verdict' | 'state' | 'summary', value: unknown): RegExp | string => {
    try {
      decodePayload(kind, Buffer.from(JSON.stringify(value)))
      return 'accepted'
    } catch (error) {
      return (error as Error).message
    }
  }
  const verdict = examples.verdict.payload
  assert.match(refused('verdict', { ...verdict, confidence: 3 }) as string, /^verdict: confidence: /)
  assert.match(refused('verdict', { id: 'w', rejected: 7 }) as string, /^verdict: rejected: /)
  assert.match(refused('state', { online: true }) as string, /^state: at: /)
  assert.match(refused('state', { online: 'yes' }) as string, /^state: online: /)
  assert.match(refused('summary', []) as string, /^summary: payload: /)
})
