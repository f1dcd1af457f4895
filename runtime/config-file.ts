import { copyFile, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { type Document, isMap, isScalar, type Pair, parseDocument, type YAMLMap } from 'yaml'
import type { z } from 'zod'
import { type ConfigChange, configVersion, migrateEntries } from './config-migrations.ts'
import { checkConfig, readEntries } from './configuration.ts'

export interface MigratedFile {
  changes: ConfigChange[]
  /** The copy of the file as it was; absent where there was nothing to do. */
  backup?: string
}

/**
 * Rewrites a configuration file in the present format, comments and order kept, after a copy of it beside it. Throws
 * `CONFIG_UNREADABLE`, and `CONFIG_INVALID` for a file that the program would not start from.
 */
export async function migrateConfigFile(schema: z.ZodType, file: string): Promise<MigratedFile> {
  const entries = await readEntries(file)
  checkConfig(schema, structuredClone(entries), file, () => {})
  const isPresent = entries.version === configVersion
  const changes = migrateEntries(schema, entries, file)
  if (isPresent && changes.length === 0) return { changes }
  const document = parseDocument(await readFile(file, 'utf8'))
  for (const change of changes) apply(document, change)
  if (isMap(document.contents)) setVersion(document, document.contents)
  const backup = await backUp(file)
  await replace(file, document.toString({ lineWidth: 0 }))
  return { changes, backup }
}

function apply(document: Document, change: ConfigChange): void {
  const { from } = change
  if (!('to' in change)) {
    document.deleteIn(from)
    return
  }
  const { to } = change
  const parent = from.length > 1 ? document.getIn(from.slice(0, -1)) : document.contents
  const isSibling = from.length === to.length && from.slice(0, -1).every((name, i) => name === to[i])
  const pair = isMap(parent) && parent.items.find(({ key }) => isScalar(key) && key.value === from.at(-1))
  if (isSibling && pair && isScalar(pair.key)) {
    pair.key.value = to.at(-1)!
    return
  }
  const value = document.getIn(from, true)
  document.deleteIn(from)
  document.setIn(to, value)
}

/** As the first entry, below what the file says of itself. */
function setVersion(document: Document, entries: YAMLMap): void {
  entries.delete('version')
  const first = entries.items[0]?.key
  // Comments at the head of a file belong to its first entry when no empty line follows them.
  if (document.commentBefore == null && isScalar(first) && first.commentBefore != null) {
    document.commentBefore = first.commentBefore
    first.commentBefore = undefined
  }
  entries.items.unshift(document.createPair('version', configVersion) as Pair)
}

async function backUp(file: string): Promise<string> {
  const backup = `${file}.${new Date().toISOString().replaceAll(':', '')}.bak`
  await copyFile(file, backup)
  return backup
}

/** At once, with the rights that the file had: it may hold secrets. */
async function replace(file: string, text: string): Promise<void> {
  const { mode } = await stat(file)
  const draft = `${file}.${process.pid}.part`
  await writeFile(draft, text, { mode })
  await rename(draft, file)
}
