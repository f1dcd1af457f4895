import { constants } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { inTransaction, schemaVersion } from './database.ts'
import { Finding, toDatabaseError } from './database-failure.ts'
import { checkFile } from './database-file.ts'
import { kindOf, type StoreKind } from './store-report.ts'

/** A process that is about to end may hold its store for a moment. */
const busyMs = 2_000

/**
 * Brings a store that no process has open to an older schema, for an older version to open it. What the store holds stays;
 * what only the newer schema has goes. Returns the schema that it had. Throws `DATABASE_FAILED`, with nothing changed, for
 * a store in use, and where what the store holds would be lost.
 */
export function lowerSchema(path: string, kinds: readonly StoreKind[], schema: number): number {
  let database: DatabaseSync | undefined
  try {
    checkFile(path, constants.R_OK | constants.W_OK)
    database = new DatabaseSync(path, { timeout: busyMs })
    // Of a database in write-ahead mode, this mode is granted to its only user.
    database.exec('PRAGMA locking_mode = EXCLUSIVE')
    const store = database
    return inTransaction(store, () => lower(store, kinds, schema))
  } catch (thrown) {
    throw toDatabaseError(thrown, path)
  } finally {
    database?.close()
  }
}

function lower(database: DatabaseSync, kinds: readonly StoreKind[], schema: number): number {
  const found = schemaVersion(database)
  const kind = kindOf(database, kinds)
  if (!kind) throw new Finding('other', 'no store of any program')
  if (found > kind.migrations.length)
    throw new Finding('newer', `schema ${found}; this version reads up to ${kind.migrations.length}`)
  for (let version = found; version > schema; version--) {
    const reversal = kind.reversals?.[version]
    if (reversal === undefined) throw new Finding('other', `the ${kind.name} cannot go below schema ${version}`)
    database.exec(reversal)
  }
  if (schema < found) database.exec(`PRAGMA user_version = ${schema}`)
  return found
}
