import { constants } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { schemaVersion } from './database.ts'
import { toDatabaseError } from './database-failure.ts'
import { checkFile, setAsideOf, statOf } from './database-file.ts'

/** What tells the stores of one kind from others, and what is worth counting in them. */
export interface StoreKind {
  /** In words: `broker store`. */
  name: string
  /** Tables that together only this kind has. */
  tables: readonly string[]
  migrations: readonly string[]
  /** By version of the schema, a script that goes back to the one before; absent where something would be lost. */
  reversals?: Readonly<Record<number, string>>
  /** Queries that give one number, by what they count. */
  counts: Readonly<Record<string, string>>
}

export interface StoreReport {
  path: string
  /** Undefined for a database of no kind that was given, and for one that is too damaged to say. */
  kind?: string
  /** Version of its schema, and the newest that this software reads. */
  schema?: { found: number; newest: number }
  /** Bytes of the database and the files beside it. */
  bytes: number
  counts: Record<string, number>
  /** What is wrong with it, and what mends it. */
  fault?: string
  /** Damaged files of it that were set aside. */
  setAside: string[]
}

/**
 * Looks at a SQLite file and never writes it, whether or not a process has it open: its kind, its schema, an integrity
 * check of every page, and what is in it. Problems of the file are part of the report.
 */
export function inspectStore(path: string, kinds: readonly StoreKind[]): StoreReport {
  const report: StoreReport = { path, bytes: bytesOf(path), counts: {}, setAside: setAsideOf(path) }
  let database: DatabaseSync | undefined
  try {
    checkFile(path, constants.R_OK)
    database = openUnchanged(path)
    fill(report, database, kinds)
  } catch (thrown) {
    const { message } = toDatabaseError(thrown, path)
    report.fault ??= message
  } finally {
    database?.close()
  }
  return report
}

/**
 * A reader makes the files of the write-ahead log where there are none, and leaves them. Where there are none, no process
 * has the database open, and it can be read as one that does not change.
 */
function openUnchanged(path: string): DatabaseSync {
  const url = pathToFileURL(path)
  if (!statOf(`${path}-wal`)) url.searchParams.set('immutable', '1')
  return new DatabaseSync(url, { readOnly: true, timeout: 5_000 })
}

function fill(report: StoreReport, database: DatabaseSync, kinds: readonly StoreKind[]): void {
  const found = schemaVersion(database)
  const kind = kindOf(database, kinds)
  if (kind) {
    report.kind = kind.name
    report.schema = { found, newest: kind.migrations.length }
  }
  const [first] = database.prepare('PRAGMA integrity_check(1)').all() as { integrity_check: string }[]
  if (first?.integrity_check !== 'ok') {
    report.fault = `damaged: ${first?.integrity_check.replaceAll('\n', ' ')}`
  } else if (kind && found > kind.migrations.length) {
    report.fault = 'written by a newer version: install that version again'
  }
  // An older schema need not have what is counted.
  if (found === kind?.migrations.length) {
    for (const [what, query] of Object.entries(kind.counts)) {
      report.counts[what] = Number(Object.values(database.prepare(query).get() ?? {})[0])
    }
  }
}

/** The kind of a store; undefined for none of those given. */
export function kindOf(database: DatabaseSync, kinds: readonly StoreKind[]): StoreKind | undefined {
  const rows = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all()
  const names = new Set(rows.map(({ name }) => name))
  return kinds.find(({ tables }) => tables.every(table => names.has(table)))
}

const bytesOf = (path: string): number =>
  ['', '-wal', '-shm'].reduce((sum, suffix) => sum + (statOf(`${path}${suffix}`)?.size ?? 0), 0)
