import { z } from 'zod'
import { encoderSchemas } from './codec.ts'
import type { TopicKind } from './topics.ts'

/** The part of JSON Schema (draft 7, which AsyncAPI 3 extends) that payloads and configuration files need. */
export interface JsonSchema {
  type?: string | string[]
  description?: string
  /** The minor version of the contract that added it; absent for what was there from the start. */
  'x-since'?: string
  default?: unknown
  properties?: Record<string, JsonSchema>
  required?: string[]
  additionalProperties?: JsonSchema | boolean
  propertyNames?: JsonSchema
  items?: JsonSchema
  anyOf?: JsonSchema[]
  oneOf?: JsonSchema[]
  enum?: unknown[]
  const?: unknown
  format?: string
  pattern?: string
  contentEncoding?: string
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  minLength?: number
  maxLength?: number
  minItems?: number
  maxItems?: number
}

/** The JSON Schema of a kind's payload, as a publisher must send it. */
export const payloadJsonSchema = (kind: TopicKind): JsonSchema => jsonSchemaOf(encoderSchemas[kind])

/** The JSON Schema of what a zod schema takes, before defaults are filled in. */
export function jsonSchemaOf(type: z.ZodType): JsonSchema {
  const { $schema: _, ...schema } = z.toJSONSchema(type, {
    target: 'draft-7',
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      // The only custom type is the window's Uint8Array: a byte string in CBOR, which JSON Schema has no word for.
      if (zodSchema._zod.def.type === 'custom') Object.assign(jsonSchema, { type: 'string', contentEncoding: 'binary' })
      // The format says it already; the expression would be longer than the rest of the page.
      if (jsonSchema.format === 'date-time') jsonSchema.pattern = 'Z$'
      // The largest exact integers are a limit of JavaScript, not of the contract.
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
    },
  })
  return schema as JsonSchema
}
