import { type DatabaseSync, databaseFailure, openOrSetAside, openReadOnly, type SetAside } from '@faultline/runtime'
import { migrations } from './schema.ts'

export const restore = 'restart the broker, which sets the file aside and makes a new one'

/** What a damaged store held, as far as that can be read. */
export interface StoreContents {
  sessions: number | undefined
  messages: number | undefined
}

export interface StoreFile {
  database: DatabaseSync
  setAside?: SetAside
  /** Whether no other process may read it. */
  isExclusive: boolean
}

/**
 * Opens the file, readable for its owner alone: it has what devices say and receive. On a full disk it is opened for this
 * process alone, which needs no room beside the file, so that what is there can be read and served. Throws `DATABASE_FAILED`.
 */
export function openStore(path: string): StoreFile {
  const options = { mode: 0o600, restore }
  try {
    return { ...openOrSetAside(path, migrations, options), isExclusive: false }
  } catch (thrown) {
    if (databaseFailure(thrown) !== 'full') throw thrown
    return { ...openOrSetAside(path, migrations, { ...options, exclusive: true }), isExclusive: true }
  }
}

/** Lets other processes read a store that was opened on a full disk. Throws where there is no room for that yet. */
export function share(database: DatabaseSync): void {
  try {
    // SQLite keeps the lock of a write-ahead log that was opened with it.
    database.exec('PRAGMA journal_mode = DELETE; PRAGMA locking_mode = NORMAL; PRAGMA journal_mode = WAL')
  } catch (thrown) {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL')
    throw thrown
  }
}

/** Much of a damaged file can be read, more often than not. */
export function contentsOf(path: string): StoreContents {
  let database: DatabaseSync | undefined
  const count = (query: string): number | undefined => {
    try {
      database ??= openReadOnly(path)
      return (database.prepare(query).get() as { n: number }).n
    } catch {
      return undefined
    }
  }
  const contents = {
    sessions: count('SELECT count(DISTINCT client) AS n FROM subscriptions'),
    messages: count('SELECT count(*) AS n FROM queue'),
  }
  database?.close()
  return contents
}
