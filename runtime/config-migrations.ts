import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'

/** Format of the configuration files that this software writes: the entry `version`. Files from before it have none. */
export const configVersion = 1

/**
 * What one version of the format changed. An entry is named by its path; `*` stands for every member of a list or map on
 * the way: `points.*.limit`.
 */
export interface ConfigMigration {
  /** New paths by old ones. Both have the same `*` in front. */
  renamed?: Readonly<Record<string, string>>
  /** Entries that are no more, with what to do instead. */
  removed?: Readonly<Record<string, string>>
}

/** A change made to the entries of one file. */
export type ConfigChange = { from: string[] } & ({ to: string[] } | { advice: string })

type Entries = Record<string, unknown>

const migrationsOf = z.registry<{ migrations: readonly ConfigMigration[] }>()

/** Notes how files of earlier versions differ from a schema: the first migration leads to version 1. */
export function withMigrations<S extends z.ZodType>(schema: S, ...migrations: ConfigMigration[]): S {
  migrationsOf.add(schema, { migrations })
  return schema
}

/**
 * Brings the entries of a file to the present format, in place, and takes `version` out of them. Returns what was changed.
 * Throws `CONFIG_INVALID` for a version that is none or a newer one, and where an entry stands under its old and its new name.
 */
export function migrateEntries(schema: z.ZodType, entries: Entries, source: string): ConfigChange[] {
  const written = versionIn(entries, source)
  delete entries.version
  const { migrations = [] } = migrationsOf.get(schema) ?? {}
  return migrations
    .slice(written)
    .flatMap(({ renamed = {}, removed = {} }) => [
      ...Object.entries(renamed).flatMap(([from, to]) => rename(entries, from.split('.'), to.split('.'), source)),
      ...Object.entries(removed).flatMap(([from, advice]) => remove(entries, from.split('.'), advice)),
    ])
}

function versionIn({ version = 0 }: Entries, source: string): number {
  const refuse = (problem: string): never => {
    throw new FaultlineError('CONFIG_INVALID', `${source}: version: ${problem}`)
  }
  if (typeof version !== 'number' || !Number.isInteger(version) || version < 0)
    return refuse(`found ${JSON.stringify(version)}, want a whole number such as ${configVersion}`)
  if (version > configVersion)
    return refuse(`${version} was written for a later release; this one reads files up to version ${configVersion}`)
  return version
}

function rename(entries: Entries, from: string[], to: string[], source: string): ConfigChange[] {
  return pathsOf(entries, from).map(path => {
    const target = to.map((name, i) => (name === '*' ? path[i]! : name))
    if (pathsOf(entries, target).length > 0) {
      const [old, present] = [path.join('.'), target.join('.')]
      throw new FaultlineError(
        'CONFIG_INVALID',
        `${source}: ${old} is an old name of ${present}, which is there too: remove ${old}`,
      )
    }
    const value = take(entries, path)
    put(entries, target, value)
    return { from: path, to: target }
  })
}

function remove(entries: Entries, from: string[], advice: string): ConfigChange[] {
  return pathsOf(entries, from).map(path => {
    take(entries, path)
    return { from: path, advice }
  })
}

/** The entries that a path with `*` stands for. */
function pathsOf(value: unknown, [head, ...rest]: readonly string[]): string[][] {
  if (head === undefined) return [[]]
  if (typeof value !== 'object' || value === null) return []
  const names = head === '*' ? Object.keys(value) : Object.hasOwn(value, head) ? [head] : []
  return names.flatMap(name => pathsOf((value as Entries)[name], rest).map(path => [name, ...path]))
}

function take(entries: Entries, path: readonly string[]): unknown {
  const parent = path.slice(0, -1).reduce<Entries>((value, name) => value[name] as Entries, entries)
  const name = path.at(-1)!
  const value = parent[name]
  delete parent[name]
  return value
}

function put(entries: Entries, path: readonly string[], value: unknown): void {
  let parent = entries
  for (const name of path.slice(0, -1)) {
    if (typeof parent[name] !== 'object' || parent[name] === null) parent[name] = {}
    parent = parent[name] as Entries
  }
  parent[path.at(-1)!] = value
}
