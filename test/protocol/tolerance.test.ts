import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  alarmStates,
  contractVersion,
  decodePayload,
  encodePayload,
  examples,
  isCbor,
  type JsonSchema,
  other,
  outcomes,
  type Payload,
  type TopicKind,
  topicKinds,
} from '@faultline/protocol'
import { payloadJsonSchema } from '../../protocol/json-schema.ts'
import { cbor } from '../support/cbor.ts'

type Fields = Record<string, unknown>

const bytesOf = (kind: TopicKind, value: unknown): Buffer =>
  isCbor(kind) ? cbor(value) : Buffer.from(JSON.stringify(value))

const isMap = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)

/** The schema of a value that an example has: of several forms the one that has all its fields. */
function formOf(schema: JsonSchema, value: Fields): JsonSchema {
  const forms = schema.oneOf ?? schema.anyOf
  if (!forms) return schema
  const fits = (form: JsonSchema) =>
    Object.entries(value).every(([name, field]) => {
      const { const: constant } = form.properties?.[name] ?? {}
      return form.properties?.[name] !== undefined && (constant === undefined || constant === field)
    })
  return forms.find(fits) ?? {}
}

/** The value with a field that no version knows in every map that has named fields. */
function extended(value: unknown, schema: JsonSchema | undefined): unknown {
  if (Array.isArray(value)) return value.map(item => extended(item, schema?.items))
  if (!isMap(value)) return value
  const form = formOf(schema ?? {}, value)
  const fields = Object.entries(value).map(([name, field]) => {
    const values = typeof form.additionalProperties === 'object' ? form.additionalProperties : undefined
    return [name, extended(field, form.properties?.[name] ?? values)]
  })
  return { ...Object.fromEntries(fields), ...(form.properties && { fieldOfTomorrow: { deep: [1] } }) }
}

const withoutIgnored = ({ ignored: _, ...rest }: Fields): Fields => rest

for (const kind of topicKinds) {
  test(`${kind}: fields that a later version adds, at any depth, are passed over`, () => {
    const { payload } = examples[kind]
    const later = extended(payload, payloadJsonSchema(kind))
    assert.notDeepEqual(later, payload)
    const read = decodePayload(kind, bytesOf(kind, later)) as Fields
    assert.deepEqual(kind === 'config-desired' ? withoutIgnored(read) : read, payload)
  })

  test(`${kind}: a sender cannot write a field that the contract does not list`, () => {
    const payload = { ...examples[kind].payload, fieldOfTomorrow: 1 } as unknown as Payload<typeof kind>
    assert.throws(() => encodePayload(kind, payload), { code: 'MESSAGE_INVALID', message: /fieldOfTomorrow/ })
  })
}

test('a member of an enumeration that a later version adds is read as other, and cannot be written', () => {
  const inference = { ...examples.inference.payload, decidedBy: 'committee', outcome: 'postponed' }
  const read = decodePayload('inference', bytesOf('inference', inference))
  assert.deepEqual([read.decidedBy, read.outcome], [other, other])
  assert.throws(() => encodePayload('inference', read), { code: 'MESSAGE_INVALID', message: /decidedBy/ })
  const alarm = decodePayload(
    'alarm',
    bytesOf('alarm', { ...examples.alarm.payload, state: 'latched', priority: 'urgent' }),
  )
  assert.deepEqual([alarm.state, alarm.priority], [other, other])
  assert.equal(decodePayload('verdict', bytesOf('verdict', { id: 'w', rejected: 'tired' })).id, 'w')
  assert.deepEqual(
    alarmStates.map(state => decodePayload('alarm', bytesOf('alarm', { ...examples.alarm.payload, state })).state),
    alarmStates,
  )
})

test('a value that is no text, or none at all, is no member of an enumeration', () => {
  for (const state of [7, null, undefined, {}])
    assert.throws(() => decodePayload('alarm', bytesOf('alarm', { ...examples.alarm.payload, state })), {
      code: 'MESSAGE_INVALID',
      message: /state/,
    })
})

test('counts by a member that a later version adds are summed up as other', () => {
  const outcomesLater = { accepted: 3, postponed: 4, referred: 5 }
  const read = decodePayload('summary', bytesOf('summary', { ...examples.summary.payload, outcomes: outcomesLater }))
  assert.deepEqual(read.outcomes, { accepted: 3, [other]: 9 })
  assert.ok(!outcomes.includes(other as never))
})

test('what an operator desires beyond what a device knows is passed over by name', () => {
  const { payload } = examples['config-desired']
  const budget = { bytesPerDay: 3, escalationBytesPerDay: 2, explorationBytesPerDay: 1, bytesPerWeek: 9 }
  const desired = { ...payload, config: { ...payload.config, mood: 'calm', budget } }
  const read = decodePayload('config-desired', bytesOf('config-desired', desired))
  assert.deepEqual(read.ignored?.toSorted(), ['config.budget.bytesPerWeek', 'config.mood'])
  assert.ok(!('mood' in read.config))
  assert.equal(decodePayload('config-desired', bytesOf('config-desired', payload)).ignored, undefined)
})

test('states say the version of the contract, and those from before it are read', () => {
  for (const kind of ['state', 'server-state'] as const) {
    const { contract, ...before } = examples[kind].payload as Fields
    assert.equal(contract, contractVersion)
    assert.deepEqual(decodePayload(kind, bytesOf(kind, before)), before)
  }
})
