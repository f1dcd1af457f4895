import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import {
  type DatabaseOptions,
  type DatabaseSync,
  databaseFailure,
  openDatabase,
  openImmutable,
  openOrSetAside,
  openReadOnly,
  type SetAside,
  type StoreKind,
  setAside,
} from '@faultline/runtime'

const migrations = [
  `CREATE TABLE messages (
     seq INTEGER PRIMARY KEY,
     kind TEXT NOT NULL,
     topic TEXT NOT NULL,
     payload BLOB NOT NULL
   ) STRICT;
   CREATE INDEX messages_by_kind ON messages (kind, seq);
   CREATE TABLE command_results (
     number INTEGER PRIMARY KEY,
     id TEXT NOT NULL UNIQUE,
     result TEXT NOT NULL
   ) STRICT;
   CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT`,
  `CREATE TABLE policy_states (
     model TEXT NOT NULL,
     policy TEXT NOT NULL,
     state TEXT NOT NULL,
     used INTEGER NOT NULL,
     PRIMARY KEY (model, policy)
   ) STRICT`,
  // `class` and `worth`: what a full spool gives up. `at`: ms the agent had run. `tries`: broken connections.
  `ALTER TABLE messages ADD COLUMN class INTEGER NOT NULL DEFAULT 2;
   ALTER TABLE messages ADD COLUMN worth REAL NOT NULL DEFAULT 0;
   ALTER TABLE messages ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE messages ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
   UPDATE messages SET class = CASE kind WHEN 'command-result' THEN 0 WHEN 'summary' THEN 1 ELSE 2 END;
   DROP INDEX messages_by_kind;
   CREATE INDEX messages_by_worth ON messages (class, worth, seq);
   CREATE INDEX messages_tried ON messages (tries, seq) WHERE tries > 0`,
]

export const agentDatabase: StoreKind = {
  name: 'device agent database',
  tables: ['messages', 'command_results', 'settings'],
  migrations,
  counts: {
    'spooled messages': 'SELECT count(*) FROM messages',
    'command results': 'SELECT count(*) FROM command_results',
  },
}

/** Where the database of an agent is. */
export const fileOf = (directory: string): string => join(directory, 'agent.db')

/** Only the agent itself holds its database, and its event loop stands still while it waits for another program that does. */
const options: DatabaseOptions = { busyMs: 250 }

/** The agent's own database: what must survive a restart. Throws `DATABASE_FAILED`. */
export function openStorage(directory: string): DatabaseSync {
  return afterReturn(fileOf(directory), path => openDatabase(path, migrations, options))
}

/** As `openStorage`, with a new database in the place of a damaged one, which stays beside it. */
export function openOrSetAsideStorage(directory: string): { database: DatabaseSync; setAside?: SetAside } {
  return afterReturn(fileOf(directory), path => openOrSetAside(path, migrations, options))
}

/** A new database in the place of one whose damage was met in use. Throws `DATABASE_FAILED`. */
export const setStorageAside = (directory: string, damage: string): { database: DatabaseSync; setAside: SetAside } =>
  setAside(fileOf(directory), migrations, options, damage)

/** What the disk holds, where nothing can be written to it. Throws `DATABASE_FAILED`. */
export const readStorage = (directory: string): DatabaseSync => openImmutable(fileOf(directory))

/** The same tables in memory. */
export const memoryStorage = (): DatabaseSync => openDatabase(':memory:', migrations)

/** A database that a newer agent has changed, which was rolled back, gives way to the copy from before the update. */
function afterReturn<T>(path: string, open: (path: string) => T): T {
  try {
    return open(path)
  } catch (thrown) {
    const copy = copyOf(path)
    if (databaseFailure(thrown) !== 'newer' || !existsSync(copy)) throw thrown
    for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true })
    renameSync(copy, path)
    return open(path)
  }
}

/** Copies the database as it is now, for a return from a newer agent, onto the disk. Throws `DATABASE_FAILED`. */
export function backUpStorage(directory: string): void {
  const path = fileOf(directory)
  rmSync(copyOf(path), { force: true })
  const database = openReadOnly(path)
  try {
    database.prepare('VACUUM INTO ?').run(copyOf(path))
    // SQLite leaves that to whoever asks for a copy (VACUUM, "VACUUM with an INTO clause").
    sync(copyOf(path))
    sync(directory)
  } catch (cause) {
    throw new FaultlineError('DATABASE_FAILED', `${copyOf(path)}: ${(cause as Error).message}`, { cause })
  } finally {
    database.close()
  }
}

function sync(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

const copyOf = (path: string): string => `${path}.before-update`

export type StoredValue = null | number | bigint | string | Uint8Array

/** What keepers of single tables need of a database. */
export interface Tables {
  prepare(sql: string): { get(...values: StoredValue[]): unknown; run(...values: StoredValue[]): unknown }
  exec(sql: string): void
}

/** Small values by name, as JSON. */
export class Settings {
  private readonly database: Tables
  private readonly select: ReturnType<Tables['prepare']>
  private readonly upsert: ReturnType<Tables['prepare']>

  constructor(database: Tables) {
    this.database = database
    this.select = database.prepare('SELECT value FROM settings WHERE name = ?')
    this.upsert = database.prepare('INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)')
  }

  /** Undefined where there is none, or where it is not JSON any more. */
  read(name: string): unknown {
    const row = this.select.get(name) as { value: string } | undefined
    try {
      return row && JSON.parse(row.value)
    } catch {
      return undefined
    }
  }

  write(name: string, value: unknown): void {
    this.upsert.run(name, JSON.stringify(value))
  }

  /** As `write`, and it is on the disk when this returns: a power cut does not take it back. */
  writeThrough(name: string, value: unknown): void {
    this.database.exec('PRAGMA synchronous = FULL')
    try {
      this.write(name, value)
    } finally {
      this.database.exec('PRAGMA synchronous = NORMAL')
    }
  }

  /** How often the agent has started, this start included. */
  nextBoot(): number {
    const last = this.read('boot')
    const boot = (typeof last === 'number' ? last : 0) + 1
    this.write('boot', boot)
    return boot
  }
}
