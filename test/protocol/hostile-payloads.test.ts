import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  decodeMessage,
  decodePayload,
  encodePayload,
  examples,
  FaultlineError,
  isCbor,
  payloadSchemas,
  type TopicKind,
  topicKinds,
  topicOf,
} from '@faultline/protocol'
import fc from 'fast-check'
import { byteString, cbor, float64, head, list, map, tag, text } from '../support/cbor.ts'

const escalation = examples.escalation.payload
const encoded = encodePayload('escalation', escalation)

/** The code of the refusal. Fails when the payload is accepted or something without a code is thrown. */
function refusal(kind: TopicKind, bytes: Uint8Array): string {
  try {
    decodePayload(kind, bytes)
  } catch (error) {
    assert.ok(error instanceof FaultlineError, `${(error as Error).name}: ${(error as Error).message}`)
    assert.ok(error.message.length < 500, 'the message repeats the payload')
    return error.code
  }
  return assert.fail('accepted')
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
const nested = (open: string, close: string, depth: number): string => open.repeat(depth) + close.repeat(depth)

test('an escalation cut short anywhere is malformed', () => {
  for (let length = 0; length < encoded.length; length++) {
    assert.equal(refusal('escalation', encoded.subarray(0, length)), 'MESSAGE_MALFORMED', `${length} bytes`)
  }
})

test('an escalation with bytes behind its end is malformed', () => {
  assert.equal(refusal('escalation', Buffer.concat([encoded, Buffer.of(0)])), 'MESSAGE_MALFORMED')
  assert.equal(refusal('escalation', Buffer.concat([encoded, encoded])), 'MESSAGE_MALFORMED')
})

test('random bytes are refused with a code by every kind', () => {
  fc.assert(
    fc.property(fc.constantFrom(...topicKinds), fc.uint8Array({ maxLength: 300 }), (kind, bytes) => {
      refusal(kind, bytes)
    }),
    { numRuns: 3_000 },
  )
})

test('an escalation with bytes changed is read or refused with a code', () => {
  const change = fc.tuple(fc.nat(encoded.length - 1), fc.nat(255))
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 5 }), changes => {
      const bytes = Buffer.from(encoded)
      for (const [position, value] of changes) bytes[position] = value
      try {
        const { window } = decodePayload('escalation', bytes)
        assert.ok(window.bytes instanceof Uint8Array)
      } catch (error) {
        assert.ok(error instanceof FaultlineError, String(error))
      }
    }),
    { numRuns: 3_000 },
  )
})

test('any JSON value at all is read or refused with a code by every kind', () => {
  fc.assert(
    fc.property(fc.constantFrom(...topicKinds), fc.json(), (kind, value) => {
      refusal(kind, Buffer.from(value))
    }),
  )
})

test('10 MB are refused unread', () => {
  for (const kind of topicKinds) assert.equal(refusal(kind, Buffer.alloc(10_000_000, '[')), 'MESSAGE_TOO_LARGE')
})

test('a megabyte of empty objects is refused for its outline: the mistakes of each are not collected', () => {
  const { payload } = examples.state
  const state = (count: number) => json({ ...payload, models: Array.from({ length: count }, () => ({})) })
  assert.equal(refusal('state', state(300_000)), 'MESSAGE_MALFORMED')
  assert.equal(refusal('state', state(1_900)), 'MESSAGE_INVALID')
  const empties = Buffer.concat([head(4, 1_000_000), Buffer.alloc(1_000_000, head(5, 0))])
  assert.equal(refusal('escalation', cbor({ ...escalation, local: empties })), 'MESSAGE_MALFORMED')
})

test('evidence without bounds is refused', () => {
  for (const kind of ['evidence', 'pool'] as const) {
    const { payload } = examples[kind]
    const hostile = [
      { sums: [] },
      { sums: Array.from({ length: 1_025 }, () => 0) },
      { sums: [1e300] },
      { sums: [null] },
      { verdicts: 0 },
      { verdicts: 1e12 },
      { verdicts: 1.5 },
      { kind: '../../alarms' },
      { kind: '' },
      { model: 'sha256:' },
    ]
    for (const part of hostile)
      assert.equal(refusal(kind, json({ ...payload, ...part })), 'MESSAGE_INVALID', JSON.stringify(part).slice(0, 80))
  }
  assert.equal(refusal('pool', json({ ...examples.pool.payload, devices: 0 })), 'MESSAGE_INVALID')
})

test('an unknown version is named as such', () => {
  for (const v of [0, 2, 99]) {
    assert.equal(refusal('escalation', cbor({ ...escalation, v })), 'MESSAGE_VERSION_UNSUPPORTED', String(v))
  }
  assert.equal(refusal('escalation', cbor({ ...escalation, v: '1' })), 'MESSAGE_INVALID')
  assert.equal(refusal('escalation', cbor({ v: 2, somethingNew: true })), 'MESSAGE_VERSION_UNSUPPORTED')
})

test('numbers that are not finite are refused', () => {
  for (const value of [Number.NaN, Infinity, -Infinity]) {
    const { local, window } = escalation
    const hostile = [
      { ...escalation, shaftHz: float64(value) },
      { ...escalation, window: { ...window, scale: float64(value) } },
      { ...escalation, local: { ...local, probabilities: [float64(value)] } },
    ]
    for (const payload of hostile) assert.equal(refusal('escalation', cbor(payload)), 'MESSAGE_INVALID')
  }
  const half = Buffer.of(0xf9, 0x7e, 0x00) // NaN in 16 bits
  assert.equal(refusal('escalation', cbor({ ...escalation, shaftHz: half })), 'MESSAGE_INVALID')
  const text = JSON.stringify(examples.inference.payload)
  assert.equal(refusal('inference', Buffer.from(text.replace('27.3', '1e999'))), 'MESSAGE_INVALID')
  assert.equal(refusal('inference', Buffer.from(text.replace('27.3', 'NaN'))), 'MESSAGE_MALFORMED')
})

test('a payload of the wrong shape is refused by every kind', () => {
  for (const kind of topicKinds) {
    for (const value of [null, true, 0, 'text', [], {}, [examples[kind].payload]]) {
      const bytes = isCbor(kind) ? cbor(value) : json(value)
      assert.equal(refusal(kind, bytes), 'MESSAGE_INVALID', `${kind} ${JSON.stringify(value)}`)
    }
    assert.equal(refusal(kind, Buffer.alloc(0)), 'MESSAGE_MALFORMED')
  }
})

/** Kinds whose payloads have, beside others, all the fields of another kind. Their topics tell them apart. */
const wider = [
  'config-reported as config-desired',
  'command-result as command',
  'update-offer as command',
  'rollout-command as command',
  'command-result as rollout-result',
  'pool as evidence',
]

test('the payload of one kind is not taken for another, but for one with some of its fields', () => {
  for (const kind of topicKinds) {
    for (const other of topicKinds) {
      // On its way further up an escalation, or its verdict, has the form it had.
      if (payloadSchemas[kind] === payloadSchemas[other] || isCbor(kind) || isCbor(other)) continue
      if (wider.includes(`${kind} as ${other}`)) continue
      refusal(other, encodePayload(kind, examples[kind].payload))
    }
  }
})

test('a key __proto__ is refused wherever it stands, and no prototype changes', () => {
  const hostile = [
    '{"id":"1","name":"a","args":{"__proto__":{"polluted":true}}}',
    '{"id":"1","name":"a","args":{"deep":[{"__proto__":{"polluted":true}}]}}',
    '{"__proto__":{"polluted":true},"id":"1","name":"a","args":{}}',
  ]
  for (const text of hostile) assert.equal(refusal('command', Buffer.from(text)), 'MESSAGE_MALFORMED')
  const pollute: [Buffer, Buffer] = [text('__proto__'), map([text('polluted'), cbor(true)])]
  const entries = Object.entries(escalation).map(([key, value]): [Buffer, Buffer] => [text(key), cbor(value)])
  assert.equal(refusal('escalation', map(...entries, pollute)), 'MESSAGE_MALFORMED')
  assert.equal(({} as { polluted?: boolean }).polluted, undefined)
})

test('names of built-in members are plain keys', () => {
  const args = { constructor: 1, toString: 2, hasOwnProperty: 3 }
  const { args: received } = decodePayload('command', json({ id: '1', name: 'a', args }))
  assert.deepEqual({ ...received }, args)
})

test('deep nesting is refused before anything recurses into it', () => {
  const deep = Buffer.from(`{"id":"1","name":"a","args":{"x":${nested('[', ']', 400_000)}}}`)
  assert.equal(refusal('command', deep), 'MESSAGE_MALFORMED')
  assert.equal(refusal('command', Buffer.from(nested('{"a":', '}', 10))), 'MESSAGE_MALFORMED')
  assert.equal(refusal('state', Buffer.alloc(1_000_000, '[')), 'MESSAGE_MALFORMED')
  const levels = 'x'
    .repeat(14)
    .split('')
    .reduce<unknown>(inner => [inner], 1)
  const command = { id: '1', name: 'a', args: { levels } }
  assert.deepEqual(decodePayload('command', json(command)), command)
  for (const opening of [0x81, 0x9f, 0xd8, 0xc1, 0xa1, 0xbf]) {
    assert.equal(refusal('escalation', Buffer.alloc(1_000_000, opening)), 'MESSAGE_MALFORMED', opening.toString(16))
  }
  assert.equal(refusal('escalation', Buffer.concat([Buffer.alloc(900_000, 0x81), Buffer.of(0)])), 'MESSAGE_MALFORMED')
})

test('the last of a repeated JSON key counts; a repeated CBOR key is refused', () => {
  const bytes = Buffer.from('{"id":"1","name":"a","id":"2"}')
  assert.equal(decodePayload('command', bytes).id, '2')
  const entries = Object.entries(escalation).map(([key, value]): [Buffer, Buffer] => [text(key), cbor(value)])
  assert.equal(refusal('escalation', map(...entries, [text('machine'), text('another')])), 'MESSAGE_MALFORMED')
})

test('text that is not UTF-8 is refused', () => {
  const invalid = [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82], [0xf5, 0x80, 0x80, 0x80]]
  for (const sequence of invalid) {
    const bytes = Buffer.concat([Buffer.from('{"id":"'), Buffer.from(sequence), Buffer.from('","name":"a"}')])
    assert.equal(refusal('command', bytes), 'MESSAGE_MALFORMED')
    const id = Buffer.concat([head(3, sequence.length), Buffer.from(sequence)])
    assert.equal(refusal('escalation', cbor({ ...escalation, id })), 'MESSAGE_MALFORMED')
  }
})

test('no CBOR tag makes the decoder construct anything', () => {
  const inner: Record<string, Buffer> = {
    text: text('2026-01-01T00:00:00Z'),
    number: cbor(1),
    bytes: byteString(Buffer.alloc(16)),
    list: list(text('RegExp'), text('(a+)+$'), text('')),
    record: list(cbor(0xe000), list(text('id')), cbor(1)),
    map: map([text('a'), cbor(1)]),
  }
  // Dates, big numbers, fractions, references, packed values, records, errors and expressions, typed arrays, sets, maps.
  const tags = [
    0, 1, 2, 3, 4, 5, 6, 14, 15, 25, 27, 28, 29, 51, 64, 65, 69, 70, 72, 77, 78, 79, 85, 86, 105, 216, 225, 256,
  ]
  for (const number of [...tags, 258, 259, 27_647, 55_799, 0xdff9, 0xdffe, 0xdfff, 0xe000, 0x53687264]) {
    for (const [name, item] of Object.entries(inner)) {
      const tagged = tag(number, item)
      const refusals = [
        refusal('escalation', tagged),
        refusal('escalation', cbor({ ...escalation, id: tagged })),
        refusal('escalation', cbor({ ...escalation, local: tagged })),
      ]
      const isBytes = number === 64 && name === 'bytes'
      for (const code of refusals)
        assert.equal(code, isBytes ? 'MESSAGE_INVALID' : 'MESSAGE_MALFORMED', `tag ${number}`)
    }
  }
})

test('a window whose bytes are not bytes is refused', () => {
  const { window } = escalation
  const hostile = [text('bytes'), list(cbor(1), cbor(2)), cbor(7), cbor(null), tag(77, byteString(window.bytes))]
  for (const bytes of hostile) refusal('escalation', cbor({ ...escalation, window: { ...window, bytes } }))
})

test('odd CBOR is refused: indefinite lengths, keys that are not text, reserved and unassigned values', () => {
  const odd = [
    Buffer.of(0xbf, 0xff),
    Buffer.of(0x9f, 0x01, 0xff),
    Buffer.of(0x5f, 0x41, 0x00, 0xff),
    Buffer.of(0xff),
    Buffer.of(0x1c),
    Buffer.of(0xe0),
    Buffer.of(0xf8, 0x20),
    Buffer.of(0xa1, 0x01, 0x02),
    Buffer.of(0xa1, 0xf6, 0x02),
    Buffer.of(0xa1, 0x80, 0x02),
    Buffer.of(0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
    Buffer.of(0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
    Buffer.of(0x7a, 0x7f, 0xff, 0xff, 0xff),
    Buffer.of(0xd8, 64),
  ]
  for (const bytes of odd) assert.equal(refusal('escalation', bytes), 'MESSAGE_MALFORMED', bytes.toString('hex'))
})

test('a refused payload leaves the decoder fit for the next', () => {
  for (const bytes of [tag(0xdfff, list(cbor(0xe000), list(text('v')), cbor(9))), encoded.subarray(0, 50)]) {
    refusal('escalation', bytes)
    assert.deepEqual(decodePayload('escalation', encoded), escalation)
  }
})

test('a message on a topic outside the contract has a code of its own', () => {
  const payload = encodePayload('state', examples.state.payload)
  for (const topic of ['', 'faultline/v2/devices/s/d/state', 'x'.repeat(60_000)]) {
    assert.throws(() => decodeMessage(topic, payload), { code: 'TOPIC_UNKNOWN' })
  }
  assert.throws(() => decodeMessage(topicOf(examples.health.address), payload), { code: 'MESSAGE_INVALID' })
})
