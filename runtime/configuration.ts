import { readFile } from 'node:fs/promises'
import { describeIssue, FaultlineError, type JsonSchema, jsonSchemaOf } from '@faultline/protocol'
import { closest, distance } from 'fastest-levenshtein'
import { parse } from 'yaml'
import type { z } from 'zod'
import { type ConfigChange, migrateEntries } from './config-migrations.ts'
import { createLogger } from './logger.ts'

const prefix = 'FAULTLINE_'

/** Read elsewhere, by the logger and the tests: no entries of a configuration. */
const reserved = new Set(['FAULTLINE_LOG_LEVEL', 'FAULTLINE_DATA', 'FAULTLINE_NO_SKIPS', 'FAULTLINE_MAY_SKIP'])

/**
 * Reads a YAML file, lets environment variables override it, and checks the whole against a schema.
 * `FAULTLINE_BROKER__URL=mqtt://h` sets `broker.url`: two underscores go one level down, one underscore joins words
 * in camel case. Where the schema takes a text a variable is that text, as it stands; elsewhere it is read as YAML.
 * Throws `CONFIG_UNREADABLE`, or `CONFIG_INVALID` naming the entry.
 */
export async function loadConfig<S extends z.ZodType>(
  schema: S,
  file: string | undefined,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<z.infer<S>> {
  const entries = file === undefined ? {} : await readEntries(file)
  const shape = jsonSchemaOf(schema)
  for (const [name, value] of Object.entries(environment)) {
    if (name.startsWith(prefix) && value !== undefined && !reserved.has(name)) {
      const path = name.slice(prefix.length).split('__').map(camelCase)
      assign(entries, path, takesText(shape, path) ? value : parseYaml(value, name))
    }
  }
  return checkConfig(schema, entries, file ?? 'configuration')
}

/**
 * Checks entries against a schema; entries of an earlier version of the format are read under their new names, with one
 * warning for each. Throws `CONFIG_INVALID` with the first entry that is wrong.
 */
export function checkConfig<S extends z.ZodType>(
  schema: S,
  entries: Record<string, unknown>,
  source: string,
  warn: (change: ConfigChange) => void = change => warnOf(change, source),
): z.infer<S> {
  for (const change of migrateEntries(schema, entries, source)) warn(change)
  const parsed = schema.safeParse(entries)
  if (parsed.success) return parsed.data
  const problem = describeIssue(parsed.error, 'top level') + suggestionFor(schema, parsed.error)
  throw new FaultlineError('CONFIG_INVALID', `${source}: ${problem}`)
}

function warnOf(change: ConfigChange, source: string): void {
  const entry = change.from.join('.')
  const logger = createLogger('configuration')
  if ('to' in change) logger.warn({ file: source, entry, use: change.to.join('.') }, 'entry has a new name')
  else logger.warn({ file: source, entry }, `entry is ignored: ${change.advice}`)
}

/** The entry that an unknown one was probably meant to be; nothing where none is like it. */
function suggestionFor(schema: z.ZodType, { issues: [issue] }: z.ZodError): string {
  if (issue?.code !== 'unrecognized_keys') return ''
  const forms = formsAt(jsonSchemaOf(schema), issue.path.map(String))
  const names = [...new Set(forms.flatMap(({ properties = {} }) => Object.keys(properties)))]
  const [unknown = ''] = issue.keys
  const meant = names.length > 0 ? closest(unknown, names) : ''
  return distance(unknown, meant) <= Math.max(2, unknown.length / 3) ? `; did you mean "${meant}"?` : ''
}

/** The entries of a YAML file, unchecked. Throws `CONFIG_UNREADABLE`, `CONFIG_INVALID`. */
export async function readEntries(file: string): Promise<Record<string, unknown>> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    throw new FaultlineError('CONFIG_UNREADABLE', `cannot read ${file}: ${(cause as Error).message}`, { cause })
  }
  const value = parseYaml(text, file) ?? {}
  if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>
  throw new FaultlineError('CONFIG_INVALID', `${file}: must hold named entries`)
}

function parseYaml(text: string, source: string): unknown {
  try {
    return parse(text)
  } catch (cause) {
    const [message] = (cause as Error).message.split('\n')
    throw new FaultlineError('CONFIG_INVALID', `${source}: not YAML: ${message}`, { cause })
  }
}

/** Whether an entry can be nothing but a text: a secret may look like a number, a comment or a list. */
function takesText(schema: JsonSchema, path: readonly string[]): boolean {
  const forms = formsAt(schema, path)
  return forms.length > 0 && forms.every(({ type }) => type === 'string')
}

/** What a schema says of an entry: once for each form of the maps on the way that has it, never for one that is unknown. */
function formsAt(schema: JsonSchema, path: readonly string[]): JsonSchema[] {
  const forms = schema.anyOf ?? schema.oneOf
  if (forms) return forms.flatMap(form => formsAt(form, path))
  const [head, ...rest] = path
  if (head === undefined) return [schema]
  const { properties = {}, items, additionalProperties } = schema
  const child = Object.hasOwn(properties, head) ? properties[head] : (items ?? additionalProperties)
  return typeof child === 'object' ? formsAt(child, rest) : []
}

/** The environment variable that sets an entry, by its path: `FAULTLINE_BROKER__URL` for `broker`, `url`. */
export const variableOf = (path: readonly string[]): string =>
  prefix + path.map(name => name.replace(/[A-Z]/g, letter => `_${letter}`).toUpperCase()).join('__')

const camelCase = (word: string): string =>
  word.toLowerCase().replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())

function assign(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [head, ...rest] = path
  if (head === undefined || head === '__proto__') return
  if (rest.length === 0) {
    target[head] = value
    return
  }
  const child = target[head]
  const next = typeof child === 'object' && child !== null ? (child as Record<string, unknown>) : {}
  target[head] = next
  assign(next, rest, value)
}
