import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  asyncApiDocument,
  delivery,
  errorCodes,
  examples,
  isCbor,
  partiesOf,
  topicKinds,
  topicTemplates,
} from '@faultline/protocol'
import { root } from '../support/processes.ts'

interface Document {
  asyncapi: string
  channels: Record<string, { address: string; parameters: Record<string, object>; messages: Record<string, Reference> }>
  operations: Record<string, { action: string; bindings: { mqtt: { qos: number; retain?: boolean } } }>
  components: { messages: Record<string, { contentType: string; payload: Reference; examples: object[] }> }
}
interface Reference {
  $ref: string
}
const document = asyncApiDocument() as unknown as Document

test('the AsyncAPI document has every topic with its QoS, retain flag, content type and example', () => {
  assert.equal(document.asyncapi, '3.0.0')
  assert.deepEqual(
    Object.values(document.channels).map(channel => channel.address),
    Object.values(topicTemplates),
  )
  for (const [name, kind] of Object.keys(document.channels).map((name, i) => [name, topicKinds[i]!] as const)) {
    const publish = document.operations[`publish${name[0]!.toUpperCase()}${name.slice(1)}`]!
    assert.deepEqual({ qos: publish.bindings.mqtt.qos, retain: publish.bindings.mqtt.retain }, delivery[kind])
    const message = document.components.messages[name]!
    assert.equal(message.contentType, isCbor(kind) ? 'application/cbor' : 'application/json')
    assert.equal(message.examples.length, 1)
    const braces = [...topicTemplates[kind].matchAll(/\{(\w+)\}/g)].map(match => match[1])
    assert.deepEqual(Object.keys(document.channels[name]!.parameters), braces)
  }
})

test('every reference inside the AsyncAPI document leads somewhere', () => {
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(match => match[1]!)
  assert.ok(references.length > topicKinds.length * 4)
  for (const reference of references) {
    const target = reference
      .split('/')
      .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], document)
    assert.ok(target, reference)
  }
})

test('every kind has somebody who publishes it and somebody who reads it', () => {
  for (const kind of topicKinds) {
    assert.ok(partiesOf(kind, 'publish').length > 0, `nobody publishes ${kind}`)
    assert.ok(partiesOf(kind, 'subscribe').length > 0, `nobody reads ${kind}`)
  }
  assert.deepEqual(partiesOf('escalation', 'publish'), [
    { role: 'device', own: true },
    { role: 'site', own: true },
  ])
  assert.deepEqual(partiesOf('verdict', 'publish'), [{ role: 'server', own: false }])
})

test('every field of every payload has a meaning', async () => {
  const page = await readFile(join(root, 'docs/reference/payloads.md'), 'utf8')
  const fields = page.split('\n').filter(line => line.startsWith('| `'))
  assert.ok(fields.length > 100)
  assert.deepEqual(
    fields.filter(line => line.endsWith('|  |')),
    [],
  )
})

test('every error code says what happened and what to do, in sentences', async () => {
  const page = await readFile(join(root, 'docs/reference/errors.md'), 'utf8')
  for (const [code, { title, remedy }] of Object.entries(errorCodes)) {
    assert.match(code, /^[A-Z]+(_[A-Z]+)*$/)
    assert.match(title, /^[A-Z].*[^.]$/, code)
    assert.match(remedy, /^[A-Z].*\.$/, code)
    assert.ok(page.includes(`| \`${code}\` | ${title} |`), code)
  }
})

test('the examples tell one story', () => {
  assert.equal(examples.verdict.payload.id, examples.escalation.payload.id)
  assert.equal(examples.inference.payload.id, examples.escalation.payload.id)
})
