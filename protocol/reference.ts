import { stringify } from 'yaml'
import { accessRules } from './access.ts'
import { asyncApiDocument, contentTypeOf, meanings, partiesOf, sentenceOf } from './asyncapi.ts'
import { isCbor, maxPayloadBytes } from './codec.ts'
import { errorCodes } from './errors.ts'
import { examples } from './examples.ts'
import { identifierPattern } from './identifiers.ts'
import { roles } from './identity.ts'
import { payloadJsonSchema } from './json-schema.ts'
import { block, code, page, table } from './markdown.ts'
import { outlineLimits } from './outline.ts'
import { type SchemaField, schemaFields } from './schema-fields.ts'
import { delivery, sharedFilter, type TopicKind, topicFilter, topicKinds, topicOf, topicTemplates } from './topics.ts'

const source = 'protocol/'

/** Everything in docs/reference that follows from the contract, by file name. */
export function contractPages(): Record<string, string> {
  return {
    'topics.md': topicsPage(),
    'payloads.md': payloadsPage(),
    'errors.md': errorsPage(),
    'asyncapi.yaml': stringify(asyncApiDocument(), { lineWidth: 0, aliasDuplicateObjects: false }),
  }
}

/** `errors.md`: every code, what happened, what to do. */
function errorsPage(): string {
  return page('Errors', source, [
    'Every error that crosses a boundary of the software has one of these codes. Logs carry it as `code`, commands print ' +
      '`error CODE: message` and exit with 2 for a mistake in their use, with 1 otherwise.',
    table(
      ['code', 'what happened', 'what to do'],
      Object.entries(errorCodes).map(([name, { title, remedy }]) => [code(name), title, remedy]),
    ),
  ])
}

/** `topics.md`: every topic, who may publish and read it, how it is delivered. */
function topicsPage(): string {
  const topicRows = topicKinds.map(kind => [
    code(topicTemplates[kind]),
    `${sentenceOf(partiesOf(kind, 'publish'))} → ${sentenceOf(partiesOf(kind, 'subscribe'))}`,
    String(delivery[kind].qos),
    delivery[kind].retain ? 'yes' : 'no',
    `[${kind}](payloads.md#${kind})`,
  ])
  const ruleRows = roles.map(role => [
    role,
    accessRules[role].publish.map(code).join('<br>') || 'nothing',
    accessRules[role].subscribe.map(code).join('<br>'),
  ])
  return page('Topics', source, [
    'The MQTT contract, version 1, for MQTT 3.1.1. An incompatible change gets a new version in the prefix. ' +
      '"(own)" means only topics under the name of the identity itself, or of the devices of its site.',
    table(['topic', 'from → to', 'QoS', 'retained', 'payload'], topicRows),
    `A name in braces is one identifier: ${code(identifierPattern.source)}. \`state\` is also the will of the connection: the ` +
      'broker publishes its offline form when the connection breaks. An empty retained payload clears a topic.',
    `Server agents share the escalations through ${code(sharedFilter('servers', topicFilter('escalation')))}: each goes to ` +
      'one of them.',
    '## Who may do what',
    'The user name of a connection is its identity: `devices/{site}/{device}`, `servers/{server}`, `recorders/{id}`, ' +
      '`flows/{id}`, `operators/{id}` or, for the bridge of a site to the broker above, `sites/{site}`. It stands in place of ' +
      '`{self}`, its last level in place of `{id}`. A filter is allowed when it matches nothing beyond ' +
      'these; a `$share/group/` prefix changes nothing.',
    table(['role', 'may publish to', 'may subscribe to'], ruleRows),
  ])
}

/** `payloads.md`: every field of every payload, with an example. */
function payloadsPage(): string {
  return page('Payloads', source, [
    'Every payload is UTF-8 JSON except escalations and the chunks of updates, each of which is a CBOR map (RFC 8949: definite lengths, text keys, no tags). ' +
      'A writer may write the fields listed here and no others; a reader passes over fields it does not know, and takes a member of ' +
      'an enumeration that it does not know as `other` ([Changing the contract](../guides/contract.md)). Times are UTC in ISO 8601.',
    `Refused before the fields are looked at: more than ${maxPayloadBytes.toLocaleString('en')} bytes, ` +
      `${outlineLimits.values.toLocaleString('en')} values, ${outlineLimits.containers.toLocaleString('en')} lists and maps, or ` +
      `${outlineLimits.depth} levels.`,
    ...topicKinds.flatMap(payloadSection),
  ])
}

function payloadSection(kind: TopicKind): string[] {
  const { address, payload } = examples[kind]
  const schema = payloadJsonSchema(kind)
  const forms = schema.oneOf ?? schema.anyOf ?? [schema]
  return [
    `## ${kind}`,
    `${meanings[kind]}${schema['x-since'] === undefined ? '' : ` Since ${schema['x-since']}.`}`,
    `${code(topicTemplates[kind])}, ${contentTypeOf(kind)}`,
    ...forms.flatMap((form, i) => [
      ...(forms.length > 1 ? [`Form ${i + 1} of ${forms.length}:`] : []),
      table(['field', 'type', 'meaning'], schemaFields(form).map(fieldRow)),
    ]),
    `Example, on ${code(topicOf(address))}:`,
    isCbor(kind) ? block('text', cborDiagnostic(payload)) : block('json', JSON.stringify(payload, null, 2)),
  ]
}

const fieldRow = ({ path, type, required, meaning, since }: SchemaField): string[] => [
  code(path),
  `${type}${required ? '' : ', optional'}${since === undefined ? '' : `, since ${since}`}`,
  meaning,
]

/** CBOR diagnostic notation (RFC 8949, 8): JSON with bytes as `h'…'`. */
function cborDiagnostic(value: unknown): string {
  const hex = (_: string, part: unknown): unknown =>
    part instanceof Uint8Array ? `h'${Buffer.from(part).toString('hex')}'` : part
  return JSON.stringify(value, hex, 2).replace(/"(h'[0-9a-f]*')"/g, '$1')
}
