import { accessRules } from './access.ts'
import { contentTypeOf, meanings, partiesOf, sentenceOf } from './asyncapi.ts'
import { maxPayloadBytes } from './codec.ts'
import { errorCodes } from './errors.ts'
import { examples } from './examples.ts'
import { identifierPattern } from './identifiers.ts'
import { roles } from './identity.ts'
import { type JsonSchema, payloadJsonSchema } from './json-schema.ts'
import { outlineLimits } from './outline.ts'
import { delivery, sharedFilter, type TopicKind, topicFilter, topicKinds, topicOf, topicTemplates } from './topics.ts'

const notice = '<!-- Written by `npm run docs` from protocol/. Do not edit. -->'

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n')

/** A value as code; a bar would end the cell of a table. */
const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``
const page = (title: string, sections: readonly string[]): string =>
  `${[`# ${title}`, notice, ...sections].join('\n\n')}\n`

/** `errors.md`: every code, what happened, what to do. */
export function errorsPage(): string {
  return page('Errors', [
    'Every error that crosses a boundary of the software has one of these codes. Logs carry it as `code`, commands print ' +
      '`error CODE: message` and exit with 2 for a mistake in their use, with 1 otherwise.',
    table(
      ['code', 'what happened', 'what to do'],
      Object.entries(errorCodes).map(([name, { title, remedy }]) => [code(name), title, remedy]),
    ),
  ])
}

/** `topics.md`: every topic, who may publish and read it, how it is delivered. */
export function topicsPage(): string {
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
  return page('Topics', [
    'The MQTT contract, version 1, for MQTT 3.1.1. An incompatible change gets a new version in the prefix. ' +
      '"(own)" means only topics under the name of the identity itself.',
    table(['topic', 'from → to', 'QoS', 'retained', 'payload'], topicRows),
    `A name in braces is one identifier: ${code(identifierPattern.source)}. \`state\` is also the will of the connection: the ` +
      'broker publishes its offline form when the connection breaks. An empty retained payload clears a topic.',
    `Server agents share the escalations through ${code(sharedFilter('servers', topicFilter('escalation')))}: each goes to ` +
      'one of them.',
    '## Who may do what',
    'The user name of a connection is its identity: `devices/{site}/{device}`, `servers/{server}`, `recorders/{id}`, ' +
      '`flows/{id}` or `operators/{id}`. It stands in place of `{self}`. A filter is allowed when it matches nothing beyond ' +
      'these; a `$share/group/` prefix changes nothing.',
    table(['role', 'may publish to', 'may subscribe to'], ruleRows),
  ])
}

/** `payloads.md`: every field of every payload, with an example. */
export function payloadsPage(): string {
  return page('Payloads', [
    'Every payload is UTF-8 JSON except the escalation, which is a CBOR map (RFC 8949: definite lengths, text keys, no tags). ' +
      'A field that is not listed is refused. Times are UTC in ISO 8601.',
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
    meanings[kind],
    `${code(topicTemplates[kind])}, ${contentTypeOf(kind)}`,
    ...forms.flatMap((form, i) => [
      ...(forms.length > 1 ? [`Form ${i + 1} of ${forms.length}:`] : []),
      table(['field', 'type', 'meaning'], fieldRows(form)),
    ]),
    `Example, on ${code(topicOf(address))}:`,
    kind === 'escalation'
      ? `\`\`\`text\n${cborDiagnostic(payload)}\n\`\`\``
      : `\`\`\`json\n${JSON.stringify(payload, null, 2)}\n\`\`\``,
  ]
}

/** Rows of field, type and meaning; nested fields by their path, list items as `name[]`, free keys as `name.*`. */
export function fieldRows(schema: JsonSchema, prefix = ''): string[][] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const path = `${prefix}${name}`
    const optional = schema.required?.includes(name) ? '' : ', optional'
    return [[code(path), `${typeOf(field)}${optional}`, field.description ?? ''], ...nestedRows(field, path)]
  })
}

function nestedRows(field: JsonSchema, path: string): string[][] {
  if (field.properties) return fieldRows(field, `${path}.`)
  if (field.items?.properties) return fieldRows(field.items, `${path}[].`)
  const values = field.additionalProperties
  return typeof values === 'object' && values.properties ? fieldRows(values, `${path}.*.`) : []
}

function typeOf(schema: JsonSchema): string {
  if (schema.const !== undefined) return code(JSON.stringify(schema.const))
  if (schema.enum) return schema.enum.map(value => code(JSON.stringify(value))).join(', ')
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' or ')
  if (Array.isArray(schema.type)) return schema.type.join(' or ')
  if (schema.type === 'array') return `list of ${typeOf(schema.items ?? {})}${limits(schema.minItems, schema.maxItems)}`
  if (schema.type === 'object') {
    const values = schema.additionalProperties
    return typeof values === 'object' ? `map of ${typeOf(values)}` : 'map'
  }
  if (schema.contentEncoding === 'binary') return 'byte string'
  if (schema.format === 'date-time') return 'time'
  if (schema.pattern === identifierPattern.source) return 'identifier'
  if (schema.pattern) return `text ${code(schema.pattern)}`
  if (schema.type === 'string') return `text${limits(schema.minLength, schema.maxLength)}`
  const above = schema.exclusiveMinimum === undefined ? '' : ` above ${schema.exclusiveMinimum}`
  return `${schema.type ?? 'anything'}${above}${limits(schema.minimum, schema.maximum)}`
}

function limits(least: number | undefined, most: number | undefined): string {
  const text = (bound: number): string => bound.toLocaleString('en')
  if (least !== undefined && most !== undefined) return ` (${text(least)} to ${text(most)})`
  if (least !== undefined) return ` (at least ${text(least)})`
  return most === undefined ? '' : ` (at most ${text(most)})`
}

/** CBOR diagnostic notation (RFC 8949, 8): JSON with bytes as `h'…'`. */
function cborDiagnostic(value: unknown): string {
  const hex = (_: string, part: unknown): unknown =>
    part instanceof Uint8Array ? `h'${Buffer.from(part).toString('hex')}'` : part
  return JSON.stringify(value, hex, 2).replace(/"(h'[0-9a-f]*')"/g, '$1')
}
