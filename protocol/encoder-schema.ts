import { z } from 'zod'

/** What this module reads of a zod definition. */
interface Definition {
  type: string
  /** The schema that writers keep to, where a reader accepts more. */
  written?: z.ZodType
  shape?: Record<string, z.ZodType>
  catchall?: z.ZodType
  element?: z.ZodType
  valueType?: z.ZodType
  options?: z.ZodType[]
  innerType?: z.ZodType
}

const definitionOf = (schema: z.ZodType): Definition => schema._zod.def as unknown as Definition

/** Marks a schema as what readers accept where writers keep to another; returns the schema. */
export function readAs<T extends z.ZodType>(read: T, written: z.ZodType): T {
  definitionOf(read).written = written
  return read
}

/**
 * The schema that a writer's payload has to fit, made from the one that readers use. Readers pass over fields they do not
 * know (`z.object`) and take unknown members of enumerations as `other`; writers may write neither. Refinements,
 * defaults and descriptions stay.
 */
export function encoderSchema<T extends z.ZodType>(schema: T): T {
  const definition = definitionOf(schema)
  if (definition.written) {
    const { description } = schema
    return (description === undefined ? definition.written : definition.written.describe(description)) as unknown as T
  }
  const changes = changesOf(definition)
  if (!changes) return schema
  const written = { ...schema._zod.def, ...changes } as T['_zod']['def']
  return schema.clone(written, { parent: true }) as T
}

/** The parts of a definition that differ for writers; undefined when there are none that could. */
function changesOf({
  type,
  shape,
  catchall,
  element,
  valueType,
  options,
  innerType,
}: Definition): Partial<Definition> | undefined {
  switch (type) {
    case 'object': {
      const fields = Object.entries(shape!).map(([name, field]) => [name, encoderSchema(field)])
      return { shape: Object.fromEntries(fields), catchall: catchall ?? z.never() }
    }
    case 'array':
      return { element: encoderSchema(element!) }
    case 'record':
      return { valueType: encoderSchema(valueType!) }
    case 'union':
      return { options: options!.map(option => encoderSchema(option)) }
    case 'optional':
    case 'nullable':
    case 'default':
      return { innerType: encoderSchema(innerType!) }
    default:
      return undefined
  }
}

/** At most so many unknown fields are named, each at this length. */
const maxNamed = 100
const maxPathLength = 300

/** Paths of the fields of a value that a writer's schema does not list; empty for a value that is no object. */
export function unknownFields(written: z.ZodType, value: unknown): string[] {
  const { error } = written.safeParse(value)
  return (error?.issues ?? [])
    .flatMap(issue => unknownIn(issue, []))
    .slice(0, maxNamed)
    .map(path => path.slice(0, maxPathLength))
}

function unknownIn(issue: z.core.$ZodIssue, outer: PropertyKey[]): string[] {
  const path = [...outer, ...issue.path]
  if (issue.code === 'unrecognized_keys') return issue.keys.map(key => [...path, key].join('.'))
  if (issue.code !== 'invalid_union') return []
  return issue.errors.flatMap(errors => errors.flatMap(inner => unknownIn(inner, path)))
}
