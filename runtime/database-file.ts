import { randomBytes } from 'node:crypto'
import {
  accessSync,
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Finding } from './database-failure.ts'

/** Files that SQLite keeps beside a database. */
const companions = ['-wal', '-shm', '-journal']
const maxSetAside = 3
const abandonedMs = 3_600_000

/** What is known of a file that is there; undefined where nothing is. */
export function statOf(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false })
}

/**
 * Throws for a path that is no database before SQLite sees it. The file itself is not opened: closing it would release
 * the locks that this process holds on it (fcntl(2)).
 */
export function checkFile(path: string, access: number): Stats {
  const stats = statOf(path)
  if (!stats) throw new Finding('other', 'there is no such file')
  if (!stats.isFile()) throw new Finding('other', 'it is a directory or a device')
  // SQLite takes an empty file for a new one, and the loss of what was in it would go unnoticed.
  if (stats.size === 0) throw new Finding('damaged', 'the file has zero bytes')
  accessSync(path, access)
  return stats
}

/** Makes a file with a name of its own beside a path, and gives that name. */
export function makeBeside(path: string, mode: number): string {
  forgetAbandoned(path)
  const made = `${path}.new-${randomBytes(6).toString('hex')}`
  closeSync(openSync(made, 'wx', mode))
  return made
}

/** Gives a finished file its name, whole or not at all. Where another process was faster, its file stays. */
export function place(made: string, path: string): void {
  sync(made)
  try {
    linkSync(made, path)
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException
    // Some file systems have no links.
    if (code !== 'EEXIST' && !statOf(path)) renameSync(made, path)
  }
  rmSync(made, { force: true })
  sync(dirname(path))
}

/** Deletes a database and the files beside it. */
export function removeDatabase(path: string): void {
  for (const suffix of ['', ...companions]) rmSync(`${path}${suffix}`, { force: true })
}

/**
 * Renames a damaged database, and the files beside it, to `PATH.damaged-TIME`; keeps the newest three. What is beside
 * it goes first: SQLite would take the write-ahead log of one database for that of the next.
 */
export function moveAside(path: string): string {
  const aside = asideOf(path)
  for (const suffix of [...companions, '']) {
    if (statOf(`${path}${suffix}`)) renameSync(`${path}${suffix}`, `${aside}${suffix}`)
  }
  for (const old of setAsideOf(path).slice(0, -maxSetAside)) removeDatabase(old)
  return aside
}

/** Renames the write-ahead log that a deleted database left, unless another process has put its own in that place since. */
export function moveLogAside(path: string, { ino }: Stats): void {
  if (statOf(`${path}-wal`)?.ino === ino) renameSync(`${path}-wal`, `${asideOf(path)}-wal`)
}

const asideOf = (path: string): string => `${path}.damaged-${new Date().toISOString().replaceAll(':', '-')}`

/** Damaged files of a database that were set aside, oldest first. */
export function setAsideOf(path: string): string[] {
  return namesBeside(path, '.damaged-').filter(name => !companions.some(suffix => name.endsWith(suffix)))
}

/** A process that was killed while it made a database leaves what it had. */
function forgetAbandoned(path: string): void {
  for (const name of namesBeside(path, '.new-')) {
    const stats = statOf(name)
    if (stats && Date.now() - stats.mtimeMs > abandonedMs) rmSync(name, { force: true })
  }
}

function namesBeside(path: string, infix: string): string[] {
  const directory = dirname(path)
  if (!statOf(directory)) return []
  const names = readdirSync(directory).filter(name => name.startsWith(`${basename(path)}${infix}`))
  return names.sort().map(name => join(directory, name))
}

function sync(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
