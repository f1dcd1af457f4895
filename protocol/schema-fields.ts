import { identifierPattern } from './identifiers.ts'
import type { JsonSchema } from './json-schema.ts'
import { code } from './markdown.ts'

/** One field of a schema, for a table. */
export interface SchemaField {
  /** Nested fields by their path, list items as `name[]`, free keys as `name.*`. */
  path: string
  /** For people, in Markdown. */
  type: string
  required: boolean
  /** What it is when absent. */
  default?: unknown
  meaning: string
  /** The version of the contract that added it; absent for what was there from the start. */
  since?: string
  /** Where a map has several forms: the field and value that this field goes with, such as `kind: sqlite`. */
  form?: string
}

/** Every field of a schema of named fields, outer before inner. */
export function schemaFields(schema: JsonSchema, prefix = '', form?: string): SchemaField[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const path = `${prefix}${name}`
    const own: SchemaField = {
      path,
      type: typeOf(field),
      required: schema.required?.includes(name) ?? false,
      ...(field.default !== undefined && { default: field.default }),
      meaning: field.description ?? '',
      ...(field['x-since'] !== undefined && { since: field['x-since'] }),
      ...(form !== undefined && { form }),
    }
    return [own, ...nestedFields(field, path, form)]
  })
}

function nestedFields(field: JsonSchema, path: string, form?: string): SchemaField[] {
  if (field.properties) return schemaFields(field, `${path}.`, form)
  if (field.anyOf) return field.anyOf.flatMap(one => nestedFields(one, path, form))
  if (field.oneOf) return field.oneOf.flatMap(one => schemaFields(one, `${path}.`, formOf(one, path)))
  if (field.items) return nestedFields(field.items, `${path}[]`, form)
  const values = field.additionalProperties
  return typeof values === 'object' && values.properties ? schemaFields(values, `${path}.*.`, form) : []
}

const tagOf = (form: JsonSchema): [string, JsonSchema] | undefined =>
  Object.entries(form.properties ?? {}).find(([, { const: value }]) => value !== undefined)

function formOf(form: JsonSchema, path: string): string | undefined {
  const tag = tagOf(form)
  return tag && `${path}.${tag[0]}: ${tag[1].const}`
}

function typeOf(schema: JsonSchema): string {
  if (schema.const !== undefined) return code(JSON.stringify(schema.const))
  if (schema.enum) return schema.enum.map(value => code(JSON.stringify(value))).join(', ')
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' or ')
  if (schema.oneOf) return `map, by its ${code(tagOf(schema.oneOf[0] ?? {})?.[0] ?? 'form')}`
  if (Array.isArray(schema.type)) return schema.type.join(' or ')
  if (schema.type === 'array') return `list of ${typeOf(schema.items ?? {})}${limits(schema.minItems, schema.maxItems)}`
  if (schema.type === 'object') {
    const values = schema.additionalProperties
    return typeof values === 'object' ? `map of ${typeOf(values)}` : 'map'
  }
  if (schema.contentEncoding === 'binary') return 'byte string'
  if (schema.format === 'date-time') return 'time'
  if (schema.format === 'uri') return 'URL'
  if (schema.pattern === identifierPattern.source) return 'identifier'
  if (schema.pattern) return `text ${code(schema.pattern)}`
  if (schema.type === 'string') {
    const justNotEmpty = schema.minLength === 1 && schema.maxLength === undefined
    return justNotEmpty ? 'text' : `text${limits(schema.minLength, schema.maxLength)}`
  }
  const above = schema.exclusiveMinimum === undefined ? '' : ` above ${schema.exclusiveMinimum}`
  return `${schema.type ?? 'anything'}${above}${limits(schema.minimum, schema.maximum)}`
}

function limits(least: number | undefined, most: number | undefined): string {
  const text = (bound: number): string => bound.toLocaleString('en')
  if (least !== undefined && most !== undefined) return ` (${text(least)} to ${text(most)})`
  if (least !== undefined) return ` (at least ${text(least)})`
  return most === undefined ? '' : ` (at most ${text(most)})`
}
