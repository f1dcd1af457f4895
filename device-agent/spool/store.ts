import { EventEmitter } from 'node:events'
import { type FaultlineError, type Problem, toFaultlineError } from '@faultline/protocol'
import {
  type DatabaseSync,
  databaseFailure,
  inTransaction,
  type Logger,
  openImmutable,
  type SetAside,
  toDatabaseError,
} from '@faultline/runtime'
import {
  fileOf,
  memoryStorage,
  openOrSetAsideStorage,
  readStorage,
  Settings,
  type StoredValue,
  setStorageAside,
  type Tables,
} from './storage.ts'

export interface StoreOptions {
  directory: string
  logger: Logger
  /** Pauses between attempts to write to a disk that failed: the first, and the longest; in ms. */
  retryMs?: { first: number; max: number }
}

interface StoreEvents {
  /** `problems` gives another answer. */
  changed: []
  /** The disk may be written to again; what memory holds may go there. */
  writable: []
  /** What the disk holds was not read when the agent started, and can be read now: `adopt` has it count. */
  found: []
}

/** A disk with less room than this is still full: it would be again with the next message. */
const probeBytes = 65_536
/** Tables that are read at a start; what waits for a connection stays on the disk. */
const kept = ['settings', 'policy_states', 'command_results'] as const

/**
 * What an agent keeps over restarts: on the disk, and in memory what the disk does not take. Whatever is wrong with the
 * disk, nothing here throws because of it: the agent watches its machine without a disk as well. A disk that failed is
 * tried again now and then, and takes what memory holds.
 */
export class Store extends EventEmitter<StoreEvents> implements Tables {
  /** Holds what the disk does not take. */
  readonly memory = memoryStorage()
  /** Calls that the disk failed. */
  failures = 0
  /** Messages that were lost with a damaged file, as far as they can be counted. */
  lost = 0
  private readonly options: StoreOptions
  private readonly retryMs: { first: number; max: number }
  private database: DatabaseSync | undefined
  private access: 'all' | 'reading' | 'none' = 'none'
  private trouble: Problem | undefined
  private damage: Problem | undefined
  /** The damage that was met in a database which is closed by now. */
  private damaged: string | undefined
  private unread = false
  /** Memory holds rows of the tables that are kept. */
  private holds = false
  private pauseMs: number
  private timer: NodeJS.Timeout | undefined

  private constructor(options: StoreOptions) {
    super()
    this.options = options
    this.retryMs = options.retryMs ?? { first: 10_000, max: 300_000 }
    this.pauseMs = this.retryMs.first
  }

  /** Opens what is on the disk, as far as that is possible. */
  static open(options: StoreOptions): Store {
    const store = new Store(options)
    try {
      store.attach()
      store.access = 'all'
    } catch (thrown) {
      store.unread = !store.recall()
      store.fail(thrown)
    }
    if (store.unread || store.damage) store.beginCount()
    return store
  }

  /** What is wrong: the disk now, or the file that was found at the start. */
  get problems(): Problem[] {
    return [this.trouble, this.damage].filter(problem => problem !== undefined)
  }

  /** The database on the disk; undefined while none is open. */
  get disk(): DatabaseSync | undefined {
    return this.database
  }

  /** The result of reading from the disk; undefined where that is not possible. */
  read<T>(work: (disk: DatabaseSync) => T): T | undefined {
    if (!this.database || this.access === 'none') return undefined
    try {
      return work(this.database)
    } catch (thrown) {
      this.fail(thrown)
      return undefined
    }
  }

  /** Writes to the disk; false where it does not take it. */
  write(work: (disk: DatabaseSync) => void): boolean {
    if (!this.database || this.access !== 'all') return false
    try {
      work(this.database)
      return true
    } catch (thrown) {
      this.fail(thrown)
      return false
    }
  }

  /** A statement for a table that is kept: runs on the disk, and in memory where the disk does not take it. */
  prepare(sql: string): ReturnType<Tables['prepare']> {
    const inMemory = this.memory.prepare(sql)
    let prepared: { database: DatabaseSync; statement: ReturnType<DatabaseSync['prepare']> } | undefined
    const onDisk = (database: DatabaseSync) => {
      if (prepared?.database !== database) prepared = { database, statement: database.prepare(sql) }
      return prepared.statement
    }
    return {
      get: (...values) =>
        (this.holds ? inMemory.get(...values) : undefined) ?? this.read(disk => onDisk(disk).get(...values)),
      run: (...values) => {
        if (this.write(disk => onDisk(disk).run(...values))) return
        this.holds = true
        inMemory.run(...values)
      },
    }
  }

  exec(sql: string): void {
    this.write(disk => disk.exec(sql))
  }

  /** Has count what the disk held all the time, in the place of what memory holds; the count of starts goes on. */
  adopt(): void {
    const boot = this.lastBoot(this.memory)
    for (const table of ['settings', 'policy_states']) this.memory.exec(`DELETE FROM ${table}`)
    if (this.database && boot > this.lastBoot(this.database)) new Settings(this.memory).write('boot', boot)
    this.unread = false
    this.retry()
  }

  /** Tries the disk once more, so that as little as possible is lost with the memory of this process. */
  close(): void {
    if (this.trouble && !this.unread) this.retry()
    clearTimeout(this.timer)
    const { waiting } = this.memory.prepare('SELECT count(*) AS waiting FROM messages').get() as { waiting: number }
    if (waiting > 0)
      this.options.logger.error({ waiting }, 'messages that the disk did not take are lost with this stop')
    this.memory.close()
    this.closeDisk()
  }

  private attach(): void {
    const { directory } = this.options
    const opened: { database: DatabaseSync; setAside?: SetAside } =
      this.damaged === undefined ? openOrSetAsideStorage(directory) : setStorageAside(directory, this.damaged)
    this.database = opened.database
    if (opened.setAside) this.setAside(opened.setAside)
    this.damaged = undefined
  }

  private setAside({ path, damage }: SetAside): void {
    // What was lost while the agent ran is counted by the spool.
    const lost = this.damaged === undefined ? messagesIn(path) : 0
    this.lost += lost ?? 0
    const cost =
      lost === undefined
        ? '; the messages in it cannot be counted'
        : lost > 0
          ? `; ${lost} messages in it are lost`
          : ''
    const message = `${fileOf(this.options.directory)} was damaged (${damage.replaceAll(/\s+/g, ' ')}) and is kept as ${path}${cost}`
    this.options.logger.error({ code: 'DATABASE_FAILED', error: message, lost }, 'a damaged database was set aside')
    this.damage = { code: 'DATABASE_FAILED', message, since: new Date().toISOString() }
    this.emit('changed')
  }

  /** Reads what is kept from a disk that cannot be written to; false where it cannot be read either. */
  private recall(): boolean {
    try {
      const found = readStorage(this.options.directory)
      try {
        for (const table of kept) copyRows(table, found, this.memory)
      } finally {
        found.close()
      }
      this.holds = true
      return true
    } catch {
      return false
    }
  }

  /** A count of starts that begins with the time goes on growing, where that of before cannot be read. */
  private beginCount(): void {
    const settings = new Settings(this)
    if (settings.read('boot') === undefined) settings.write('boot', Math.floor(Date.now() / 1_000))
  }

  private lastBoot(database: DatabaseSync): number {
    const boot = new Settings(database).read('boot')
    return typeof boot === 'number' ? boot : 0
  }

  private fail(thrown: unknown): void {
    this.failures++
    const error = this.described(thrown)
    const reason = databaseFailure(error)
    this.access = this.database && (reason === 'full' || reason === 'read-only') ? 'reading' : 'none'
    if (reason === 'damaged' && this.database) {
      this.damaged = error.message
      this.closeDisk()
      clearTimeout(this.timer)
      this.timer = undefined
      this.pauseMs = 0
    }
    if (!this.trouble) {
      const { code, message } = error
      this.options.logger.error({ code, error: message }, 'the disk takes nothing; going on in memory')
      this.trouble = { code, message, since: new Date().toISOString() }
      this.emit('changed')
    } else this.trouble = { ...this.trouble, message: error.message }
    this.timer ??= setTimeout(() => this.retry(), this.pauseMs).unref()
  }

  /** Names the file and what mends it, whatever was thrown. */
  private described(thrown: unknown): FaultlineError {
    const { cause } = toFaultlineError(thrown)
    const own = cause instanceof Error && 'errcode' in cause ? cause : thrown
    return toDatabaseError(own, fileOf(this.options.directory))
  }

  private retry(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    this.pauseMs = Math.min(this.retryMs.max, Math.max(this.retryMs.first, this.pauseMs * 2))
    try {
      if (!this.database) this.attach()
      const disk = this.database!
      if (this.unread && this.lastBoot(disk) > 0) {
        this.emit('found')
        return
      }
      this.moveTables(disk)
      this.unread = false
      this.access = 'all'
      this.emit('writable')
    } catch (thrown) {
      this.fail(thrown)
    }
    if (this.access !== 'all') return
    this.options.logger.info({ path: fileOf(this.options.directory) }, 'the disk takes what it is given again')
    this.trouble = undefined
    this.pauseMs = this.retryMs.first
    this.emit('changed')
  }

  private moveTables(disk: DatabaseSync): void {
    inTransaction(disk, () => {
      disk.exec(`INSERT OR REPLACE INTO settings VALUES ('probe', CAST(zeroblob(${probeBytes}) AS TEXT))`)
      disk.exec(`DELETE FROM settings WHERE name = 'probe'`)
      for (const table of kept) copyRows(table, this.memory, disk)
    })
    for (const table of kept) this.memory.exec(`DELETE FROM ${table}`)
    this.holds = false
  }

  private closeDisk(): void {
    try {
      this.database?.close()
    } catch {
      // It is closed already.
    }
    this.database = undefined
  }
}

/** Rows take the place of those with the same name; results of commands have no number of their own. */
function copyRows(table: (typeof kept)[number], from: DatabaseSync, to: DatabaseSync): void {
  const columns = {
    settings: 'name, value',
    policy_states: 'model, policy, state, used',
    command_results: 'id, result',
  }
  const names = columns[table].split(', ')
  const insert = to.prepare(
    `INSERT OR REPLACE INTO ${table} (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})`,
  )
  for (const row of from.prepare(`SELECT ${names.join(', ')} FROM ${table}`).all())
    insert.run(...names.map(name => row[name] as StoredValue))
}

/** Messages in a damaged file; undefined where they cannot be counted. */
function messagesIn(path: string): number | undefined {
  try {
    const found = openImmutable(path)
    try {
      return (found.prepare('SELECT count(*) AS count FROM messages NOT INDEXED').get() as { count: number }).count
    } finally {
      found.close()
    }
  } catch {
    return undefined
  }
}
