import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { decodeMessage, isCbor, type JsonSchema, topicKinds } from '@faultline/protocol'
import { Ajv } from 'ajv'
import { Decoder } from 'cbor-x'
import { payloadJsonSchema } from '../../protocol/json-schema.ts'
import { root } from '../support/processes.ts'
import {
  type Facts,
  type ReleasedMessage,
  type ReleasedSchemas,
  releasedDirectory,
  releasedVersions,
} from './format.ts'
import { messagesOf, protocolOf } from './messages.ts'

const read = <T>(version: string, name: string): T =>
  JSON.parse(readFileSync(join(releasedDirectory, version, name), 'utf8')) as T

const bytesOf = ({ json, cbor }: ReleasedMessage): Buffer =>
  cbor === undefined ? Buffer.from(JSON.stringify(json)) : Buffer.from(cbor, 'base64')

const decoder = new Decoder({ useRecords: false, mapsAsObjects: true })

/** What a program reads before it checks it. */
const contentOf = (message: ReleasedMessage): unknown =>
  message.cbor === undefined ? message.json : decoder.decode(new Uint8Array(bytesOf(message)))

const nameOf = ({ kind, variant }: ReleasedMessage): string => (variant === undefined ? kind : `${kind}, ${variant}`)

const isLater = (version: string | undefined, than: string): boolean =>
  version !== undefined && version.localeCompare(than, 'en', { numeric: true }) > 0

/** Paths of the fields of a message that a later version of the contract than a given one added. */
function additionsIn(
  value: unknown,
  schema: JsonSchema | undefined,
  contract: string,
  path: string[] = [],
): string[][] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, field]) => {
    const forms = [schema, ...(schema?.anyOf ?? []), ...(schema?.oneOf ?? [])].flatMap(
      form => form?.properties?.[name] ?? [],
    )
    if (forms.some(form => isLater(form['x-since'], contract))) return [[...path, name]]
    return forms.flatMap(form => additionsIn(field, form, contract, [...path, name]))
  })
}

function without(value: unknown, paths: readonly string[][]): unknown {
  const copy = structuredClone(value) as Record<string, unknown>
  for (const path of paths) {
    const parent = path.slice(0, -1).reduce<Record<string, unknown>>((part, name) => part[name] as never, copy)
    delete parent[path.at(-1)!]
  }
  return copy
}

/** JSON Schema has no bytes; a schema of ours says `string` of them. */
const asJson = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, field) => (field instanceof Uint8Array ? Buffer.from(field).toString('base64') : field)),
  )

/** What the newest code may write that the readers of a version refuse: 1.0 read strictly, and these came later. */
const refusedBy: Record<string, readonly string[]> = {
  '0.1.0': [
    'config-reported.ignored',
    'health.foreign',
    'health.problems',
    'health.queues.inMemory',
    'server-state.contract',
    'state.contract',
    'state.problems',
  ],
}

for (const version of releasedVersions()) {
  const messages = read<ReleasedMessage[]>(version, 'messages.json')
  const schemas = read<ReleasedSchemas>(version, 'schemas.json')
  const { contract } = read<Facts>(version, 'facts.json')

  test(`every message of ${version} is read, and nothing of it is lost`, () => {
    assert.deepEqual([...new Set(messages.map(({ kind }) => kind))].sort(), Object.keys(schemas).sort())
    for (const message of messages) {
      const { kind, payload } = decodeMessage(message.topic, bytesOf(message))
      assert.equal(kind, message.kind)
      assert.deepEqual(payload, contentOf(message), nameOf(message))
    }
  })

  test(`readers of ${version} take the newest messages, but for additions that are listed`, async () => {
    const ajv = new Ajv({ strict: false, validateFormats: false })
    const refused = new Set<string>()
    for (const message of messagesOf(await protocolOf(root)).filter(({ kind }) => kind in schemas)) {
      const { kind } = message
      const takes = ajv.compile(schemas[kind])
      const value = contentOf(message)
      const additions = additionsIn(value, payloadJsonSchema(kind), contract)
      assert.ok(takes(asJson(without(value, additions))), `${nameOf(message)}: ${ajv.errorsText(takes.errors)}`)
      for (const addition of additions) {
        const others = additions.filter(other => other !== addition)
        if (!takes(asJson(without(value, others)))) refused.add([kind, ...addition].join('.'))
      }
    }
    assert.deepEqual([...refused].sort(), refusedBy[version] ?? [])
  })
}

test('the newest messages have every kind and every addition to the contract', async () => {
  const messages = messagesOf(await protocolOf(root))
  assert.deepEqual([...new Set(messages.map(({ kind }) => kind))].sort(), [...topicKinds].sort())
  for (const { kind, cbor } of messages) assert.equal(cbor !== undefined, isCbor(kind))
  const shown = new Set(
    messages.flatMap(message =>
      additionsIn(contentOf(message), payloadJsonSchema(message.kind), '1.0').map(path =>
        [message.kind, ...path].join('.'),
      ),
    ),
  )
  assert.deepEqual([...shown].sort(), topicKinds.flatMap(kind => additionsOf(payloadJsonSchema(kind), [kind])).sort())
})

/** Paths of the fields of a schema that came after 1.0. */
function additionsOf(schema: JsonSchema, path: string[]): string[] {
  const forms = [schema, ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]
  return forms.flatMap(({ properties = {} }) =>
    Object.entries(properties).flatMap(([name, field]) =>
      isLater(field['x-since'], '1.0') ? [[...path, name].join('.')] : additionsOf(field, [...path, name]),
    ),
  )
}
