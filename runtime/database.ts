import { chmodSync, constants, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { databaseFailure, Finding, toDatabaseError } from './database-failure.ts'
import { checkFile, makeBeside, moveAside, moveLogAside, place, removeDatabase, statOf } from './database-file.ts'

export type { DatabaseSync, StatementSync } from 'node:sqlite'
export { setAsideOf } from './database-file.ts'

const busyMs = 5_000
/** A check reads the whole file: a second for each gigabyte from memory, seconds for this much from an SD card. */
const maxCheckedBytes = 67_108_864

export interface DatabaseOptions {
  /** Permissions of the file, such as `0o600`; SQLite gives the files beside it the same. The umask decides if omitted. */
  mode?: number
  /** Keeps other processes from the file, also from reading it. It can be opened on a full disk then. */
  exclusive?: boolean
  /** How long a call waits for the lock of another process, in ms, while nothing else runs; five seconds if omitted. */
  busyMs?: number
  /** What to do about a damaged file other than moving it away, such as `restore it with "…"`. */
  restore?: string
}

/** A damaged database that made room for a new one. */
export interface SetAside {
  /** The name it has now. */
  path: string
  /** Bytes of the database, without the files beside it. */
  bytes: number
  /** The damage that was found. */
  damage: string
}

/**
 * Opens a SQLite file in write-ahead mode, several processes welcome, and brings its schema up to date: `migrations`
 * is the list of scripts so far, of which those not yet applied are run. `:memory:` works. A file that is missing is
 * made, with its directory; one of zero bytes is damaged. Throws `DATABASE_FAILED` as a `DatabaseError`, which has a reason.
 */
export function openDatabase(path: string, migrations: readonly string[], options: DatabaseOptions = {}): DatabaseSync {
  try {
    if (path === ':memory:') return connect(path, migrations, options)
    // Looked at before the database: another process that makes it has a log only once the database has its name.
    const log = statOf(`${path}-wal`)
    if (!statOf(path)) {
      // The log of a database that was deleted would be taken for that of the new one.
      if (log) moveLogAside(path, log)
      place(make(path, migrations, options), path)
    }
    return openExisting(path, migrations, options)
  } catch (thrown) {
    throw toDatabaseError(thrown, path, options.restore)
  }
}

/**
 * Opens a SQLite file as `openDatabase` does, but renames a damaged one to `PATH.damaged-TIME` and makes a new one. Only
 * for a file that no other process has open. Files above 64 MiB are not read as a whole: damage in the middle of one shows
 * when it is met. Throws `DATABASE_FAILED` for everything else, and where the disk has no room for a new file; the damaged
 * one stays then.
 */
export function openOrSetAside(
  path: string,
  migrations: readonly string[],
  options: DatabaseOptions = {},
): { database: DatabaseSync; setAside?: SetAside } {
  let database: DatabaseSync | undefined
  try {
    database = openDatabase(path, migrations, options)
    if (path !== ':memory:' && statSync(path).size <= maxCheckedBytes) check(database)
    return { database }
  } catch (thrown) {
    database?.close()
    const failure = toDatabaseError(thrown, path, options.restore)
    if (databaseFailure(failure) !== 'damaged') throw failure
    return setAside(path, migrations, options, (failure.cause as Error).message)
  }
}

/** Opens an existing SQLite file that belongs to another process; never writes. Throws `DATABASE_FAILED`. */
export function openReadOnly(path: string): DatabaseSync {
  let database: DatabaseSync | undefined
  try {
    checkFile(path, constants.R_OK)
    database = new DatabaseSync(path, { readOnly: true, timeout: busyMs })
    schemaVersion(database) // SQLite reads nothing before it is asked to.
    return database
  } catch (thrown) {
    database?.close()
    throw toDatabaseError(thrown, path)
  }
}

/**
 * Reads a SQLite file as it lies on the disk: without locks, and without what its write-ahead log holds. It opens where
 * nothing can be written, on a full disk too. Throws `DATABASE_FAILED`.
 */
export function openImmutable(path: string): DatabaseSync {
  let database: DatabaseSync | undefined
  try {
    checkFile(path, constants.R_OK)
    database = new DatabaseSync(`${pathToFileURL(path)}?immutable=1`, { readOnly: true })
    schemaVersion(database)
    return database
  } catch (thrown) {
    database?.close()
    throw toDatabaseError(thrown, path)
  }
}

/** Another text after every change to the data, by whichever process. */
export function versionOf(database: DatabaseSync): string {
  // `data_version` counts what others commit, `total_changes` what this connection does.
  const { data_version: others } = database.prepare('PRAGMA data_version').get() as { data_version: number }
  const { own } = database.prepare('SELECT total_changes() AS own').get() as { own: number }
  return `${others}.${own}`
}

/** Runs `work` in one transaction; rolls back when it throws. */
export function inTransaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    database.exec('COMMIT')
    return result
  } catch (error) {
    // Some failures, a full disk among them, have rolled back already; a second time would hide the reason.
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

/** How many of its migrations a database has had. */
export function schemaVersion(database: DatabaseSync): number {
  return (database.prepare('PRAGMA user_version').get() as { user_version: number }).user_version
}

/** Throws `DATABASE_FAILED`-classified damage that a reading of every page finds. */
function check(database: DatabaseSync): void {
  const { quick_check: result } = database.prepare('PRAGMA quick_check(1)').get() as { quick_check: string }
  if (result !== 'ok') throw new Finding('damaged', result)
}

/** A whole database under another name, so that a crash in between leaves none that is half made. */
function make(path: string, migrations: readonly string[], options: DatabaseOptions): string {
  const { mode = 0o666 } = options
  mkdirSync(dirname(path), { recursive: true })
  const made = makeBeside(path, mode)
  try {
    const database = connect(made, migrations, options)
    try {
      database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    } finally {
      database.close()
    }
    return made
  } catch (thrown) {
    removeDatabase(made)
    throw thrown
  }
}

function openExisting(path: string, migrations: readonly string[], options: DatabaseOptions): DatabaseSync {
  const { mode } = options
  const found = checkFile(path, constants.R_OK | constants.W_OK).mode & 0o777
  if (mode !== undefined && found !== mode) chmodSync(path, mode)
  return connect(path, migrations, options)
}

/**
 * Renames a database whose damage was met while it was in use, as `openOrSetAside` does with one that it finds damaged, and
 * opens a new one. Throws `DATABASE_FAILED` where there is no room for it; the damaged one stays then.
 */
export function setAside(
  path: string,
  migrations: readonly string[],
  options: DatabaseOptions,
  damage: string,
): { database: DatabaseSync; setAside: SetAside } {
  try {
    const made = make(path, migrations, options)
    const { size: bytes } = statSync(path)
    const aside = moveAside(path)
    place(made, path)
    return { database: openExisting(path, migrations, options), setAside: { path: aside, bytes, damage } }
  } catch (thrown) {
    throw toDatabaseError(thrown, path, options.restore)
  }
}

function connect(path: string, migrations: readonly string[], options: DatabaseOptions): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: options.busyMs ?? busyMs })
  try {
    // The index of the write-ahead log is in memory then, and not in a file beside it.
    if (options.exclusive) database.exec('PRAGMA locking_mode = EXCLUSIVE')
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON')
    migrate(database, migrations)
    return database
  } catch (thrown) {
    database.close()
    throw thrown
  }
}

function migrate(database: DatabaseSync, migrations: readonly string[]): void {
  // Without a write: a file that is up to date opens on a full disk.
  if (schemaVersion(database) === migrations.length) return
  inTransaction(database, () => {
    const applied = schemaVersion(database)
    if (applied > migrations.length) {
      throw new Finding('newer', `schema ${applied}; this version reads up to ${migrations.length}`)
    }
    for (const script of migrations.slice(applied)) database.exec(script)
    database.exec(`PRAGMA user_version = ${migrations.length}`)
  })
}
