import { createHash } from 'node:crypto'
import { createReadStream, type Dirent } from 'node:fs'
import { chmod, copyFile, lstat, mkdir, open, readdir, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pipeline } from 'node:stream/promises'
import { brokerStore } from '@faultline/broker'
import { registryDatabase } from '@faultline/provisioning'
import { kindOf, type StoreKind, toDatabaseError } from '@faultline/runtime'
import { archiveDatabase } from '@faultline/server-agent'
import { telemetryDatabase } from '@faultline/telemetry'
import { storeKinds } from '../store-kinds.ts'
import type { Root } from './site.ts'

/** A file as it is in a backup. */
export interface BackedUp {
  /** `ROOT/PATH`, with slashes. */
  path: string
  bytes: number
  mode: number
  sha256: string
}

interface Source {
  path: string
  file: string
  isDatabase: boolean
}

const sqliteHeader = Buffer.from('SQLite format 3\0')
/** What SQLite keeps beside a database is in the copy of the database. */
const companion = /-(wal|shm|journal)$/
/** What is made anew, what was given up, and what says only what happened. */
const left = /(\.log|\.part|\.damaged-[^/]*|\.new-[0-9a-f]+)$/
const leftDirectories = new Set(['faultline-nodes', 'node_modules', '.git'])

/**
 * Copies what a site owns into a directory, while its programs run. Databases are copied as they are at one moment each.
 *
 * The order keeps what is acknowledged: a message is first in the broker's store, then in the recorder's spool, then in the
 * telemetry store. Copied in that order it may be in two of them, where the second takes it only once; in the other order it
 * could be in none. The registry is last: an identity it does not know has no session.
 * Throws `DATABASE_FAILED` for a database that cannot be read.
 */
export async function takeSnapshot(roots: readonly Root[], directory: string): Promise<BackedUp[]> {
  const sources = (await Promise.all(roots.map(sourcesOf))).flat()
  const ranks = new Map(await Promise.all(sources.map(async source => [source, await rankOf(source)] as const)))
  sources.sort((a, b) => ranks.get(a)! - ranks.get(b)! || (a.path < b.path ? -1 : 1))
  const copied: BackedUp[] = []
  for (const source of sources) {
    const target = join(directory, source.path)
    await mkdir(dirname(target), { recursive: true, mode: 0o700 })
    if (!(await copy(source, target))) continue
    const { size: bytes, mode } = await stat(target)
    copied.push({ path: source.path, bytes, mode: mode & 0o777, sha256: await digestOf(target) })
  }
  return copied
}

export async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}

async function sourcesOf({ name, path }: Root): Promise<Source[]> {
  const found = await lstat(path).catch(() => undefined)
  if (found?.isFile()) return [await sourceOf(name, path)]
  if (!found?.isDirectory()) return []
  const entries = await readdir(path, { withFileTypes: true })
  return (await Promise.all(entries.map(entry => sourcesIn(name, path, entry)))).flat()
}

async function sourcesIn(name: string, directory: string, entry: Dirent): Promise<Source[]> {
  const [inside, file] = [`${name}/${entry.name}`, join(directory, entry.name)]
  if (entry.isDirectory()) return leftDirectories.has(entry.name) ? [] : sourcesOf({ name: inside, path: file })
  if (!entry.isFile() || companion.test(entry.name) || left.test(entry.name)) return []
  return [await sourceOf(inside, file)]
}

async function sourceOf(path: string, file: string): Promise<Source> {
  return { path, file, isDatabase: (await headOf(file)).equals(sqliteHeader) }
}

async function headOf(file: string): Promise<Buffer> {
  const handle = await open(file).catch(() => undefined)
  if (!handle) return Buffer.alloc(0)
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(sqliteHeader.length), 0, sqliteHeader.length, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await handle.close()
  }
}

/** Stores that come before files and other stores, and those that come after them. */
const ranks = new Map<StoreKind, number>([
  [brokerStore, 0],
  [archiveDatabase, 0], // It names what is in the files beside it.
  [telemetryDatabase, 3],
  [registryDatabase, 4],
])

async function rankOf({ file, isDatabase }: Source): Promise<number> {
  if (!isDatabase) return 1
  const database = openSource(file)
  try {
    const kind = kindOf(database, storeKinds)
    return (kind && ranks.get(kind)) ?? 2
  } catch (thrown) {
    throw toDatabaseError(thrown, file)
  } finally {
    database.close()
  }
}

/** False where the file is gone by now. */
async function copy({ file, isDatabase }: Source, target: string): Promise<boolean> {
  if (isDatabase) return copyDatabase(file, target)
  try {
    await copyFile(file, target)
    return true
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw thrown
  }
}

/** As one reader sees it: writers go on, and what they write meanwhile is not in the copy. */
async function copyDatabase(file: string, target: string): Promise<boolean> {
  const found = await stat(file).catch(() => undefined)
  if (!found) return false
  const database = openSource(file)
  try {
    database.prepare('VACUUM INTO ?').run(target)
  } catch (thrown) {
    await rm(target, { force: true })
    throw toDatabaseError(thrown, file)
  } finally {
    database.close()
  }
  await chmod(target, found.mode & 0o777)
  return true
}

function openSource(file: string): DatabaseSync {
  try {
    return new DatabaseSync(file, { readOnly: true, timeout: 30_000 })
  } catch (thrown) {
    throw toDatabaseError(thrown, file)
  }
}
