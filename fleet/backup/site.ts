import { basename, dirname, isAbsolute, relative, resolve } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import { checkConfig, readEntries } from '@faultline/runtime'
import { componentOf } from '../component-of.ts'
import type { Component } from '../reference/components.ts'

/** A directory or file of a site, and what a backup calls it. */
export interface Root {
  name: string
  path: string
}

/** Entries of configuration files that name what belongs to a site, by the program that starts from the file. */
const owned: Record<Component['script'], readonly string[]> = {
  broker: ['registry', 'store', 'tls.certificate', 'tls.key', 'tls.ca', ...access('bridge')],
  'server-agent': ['archive.directory', ...access('broker')],
  recorder: ['store.path', 'spool.directory', ...access('broker')],
  flows: ['userDirectory', 'tls.certificate', 'tls.key', ...access('broker')],
  'device-agent': ['dataDirectory', ...access('broker')],
}

function access(entry: string): string[] {
  return ['ca', 'certificate', 'key'].map(name => `${entry}.${name}`)
}

/**
 * What a site owns: a directory such as that of `npm start`, and configuration files with what they name. Relative paths in
 * the files begin at `base`, the directory the programs are started in. Throws `CONFIG_INVALID`, `CONFIG_UNREADABLE`.
 */
export async function rootsOf(
  directory: string | undefined,
  configs: readonly string[],
  base: string,
): Promise<Root[]> {
  const roots: Root[] = directory === undefined ? [] : [{ name: 'site', path: resolve(directory) }]
  for (const file of configs) {
    const { schema, script } = await componentOf(file)
    const config = checkConfig(schema, await readEntries(file), file, () => {}) as Record<string, unknown>
    roots.push({ name: `config/${basename(file)}`, path: resolve(file) })
    for (const entry of owned[script] ?? []) {
      const path = valueAt(config, entry.split('.'))
      if (typeof path !== 'string' || path === ':memory:') continue
      roots.push({ name: `${script}/${entry}`, path: resolve(base, path) })
      // The authority, the rollouts and their archives lie beside the registry.
      if (entry === 'registry') roots.push(...besideRegistry(resolve(base, path)))
    }
  }
  if (roots.length === 0)
    throw new FaultlineError('CONFIG_INVALID', 'nothing to back up: name a directory or configuration files')
  return distinct(roots)
}

const besideRegistry = (registry: string): Root[] =>
  ['ca.pem', 'ca.key', 'ca.next.key', 'ca.former.key', 'rollouts.db', 'rollouts'].map(name => ({
    name: `authority/${name}`,
    path: resolve(dirname(registry), name),
  }))

function valueAt(value: unknown, [head, ...rest]: readonly string[]): unknown {
  if (head === undefined) return value
  return typeof value === 'object' && value !== null
    ? valueAt((value as Record<string, unknown>)[head], rest)
    : undefined
}

/** Without those that lie inside another one. */
function distinct(roots: readonly Root[]): Root[] {
  return roots.filter(
    (root, i) =>
      !roots.some((other, j) => i !== j && (isInside(root.path, other.path) || (j < i && root.path === other.path))),
  )
}

export function isInside(path: string, directory: string): boolean {
  const way = relative(directory, path)
  return way !== '' && !way.startsWith('..') && !isAbsolute(way)
}
