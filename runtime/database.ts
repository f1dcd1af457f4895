import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { FaultlineError } from '@faultline/protocol'

export type { DatabaseSync, StatementSync } from 'node:sqlite'

/**
 * Opens a SQLite file in write-ahead mode, several processes welcome, and brings its schema up to date: `migrations`
 * is the list of scripts so far, of which those not yet applied are run. `:memory:` works. Throws `DATABASE_FAILED`.
 */
export function openDatabase(path: string, migrations: readonly string[]): DatabaseSync {
  let database: DatabaseSync | undefined
  try {
    if (path !== ':memory:') mkdirSync(dirname(path), { recursive: true })
    database = new DatabaseSync(path)
    database.exec(
      'PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON',
    )
    migrate(database, migrations)
    return database
  } catch (cause) {
    database?.close()
    throw new FaultlineError('DATABASE_FAILED', `${path}: ${(cause as Error).message}`, { cause })
  }
}

/** Opens an existing SQLite file that belongs to another process; never writes. Throws `DATABASE_FAILED`. */
export function openReadOnly(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path, { readOnly: true })
  } catch (cause) {
    throw new FaultlineError('DATABASE_FAILED', `${path}: ${(cause as Error).message}`, { cause })
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

function migrate(database: DatabaseSync, migrations: readonly string[]): void {
  inTransaction(database, () => {
    const { user_version: applied } = database.prepare('PRAGMA user_version').get() as { user_version: number }
    if (applied > migrations.length) throw new Error(`written by a newer version (schema ${applied})`)
    for (const script of migrations.slice(applied)) database.exec(script)
    database.exec(`PRAGMA user_version = ${migrations.length}`)
  })
}
