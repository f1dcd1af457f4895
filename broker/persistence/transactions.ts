import { EventEmitter } from 'node:events'
import { toFaultlineError } from '@faultline/protocol'
import { type DatabaseSync, databaseFailure, toDatabaseError } from '@faultline/runtime'

/** How often a store that another process has locked is tried again, and for how long changes wait for that, in ms. */
const lockRetryMs = 25
const maxLockedMs = 5_000
/** How often a store that refuses changes is tried again, in ms. */
const probeMs = 500
/** Changes that may be owed to a store. Without the oldest, a message may be sent twice. */
const maxOwed = 100_000

interface TransactionEvents {
  /** A transaction is in the store, or came to nothing and was rolled back. */
  committed: []
  rolledBack: []
  /** A change came to nothing. */
  failed: [error: Error]
  /** The store refuses every change, for this reason; and takes changes again. */
  refusing: [error: Error]
  writable: []
}

interface Change {
  make(): unknown
  resolve(result: unknown): void
  reject(error: Error): void
}

/** What takes the place of a store that could not be made. */
export interface StandIn {
  reason: Error
  /** Makes the store, and gives its transactions. Throws while that is not possible. */
  make(): Transactions
}

export interface TransactionsOptions {
  database: DatabaseSync
  /** Its file, for errors to name. */
  path: string
  /** What to do about damage; for errors to say. */
  restore: string
  /** Set where the database only stands in for one that could not be made, and takes no changes. */
  standIn?: StandIn | undefined
}

/**
 * Changes of a store: those of one turn of the event loop are one transaction. Nothing of a change is visible before its
 * transaction is committed, so that one which comes to nothing leaves no trace. Changes wait, without blocking the process,
 * while another process has the store locked. A store that refuses a change (its disk is full, it is damaged, …) is not asked for
 * every other one: all are rejected until it takes a probe again.
 */
export class Transactions extends EventEmitter<TransactionEvents> {
  private readonly options: TransactionsOptions
  private changes: Change[] = []
  private scheduled: NodeJS.Immediate | undefined
  private retry: NodeJS.Timeout | undefined
  private lockedSince: number | undefined
  private probing: NodeJS.Timeout | undefined
  private refused: Error | undefined
  /** A transaction came to nothing, and what is in memory may be as if it had not. */
  private isStale = false
  private readonly owed = new Map<string, () => void>()

  constructor(options: TransactionsOptions) {
    super()
    this.options = options
    // Changes wait here, and not in SQLite, where the whole process would stand still.
    options.database.exec('PRAGMA busy_timeout = 5')
    if (options.standIn) this.waitFor(options.standIn.reason)
  }

  /** Why the store takes no changes now. */
  get refusal(): Error | undefined {
    return this.refused
  }

  /** Whether changes wait for their transaction. */
  get pending(): boolean {
    return this.changes.length > 0
  }

  /** Makes a change, and resolves with what it returns once that is committed. Rejects with `DATABASE_FAILED`. */
  change<T>(make: () => T): Promise<T> {
    if (this.refused) {
      this.emit('failed', this.refused)
      return Promise.reject(this.refused)
    }
    return new Promise<T>((resolve, reject) => {
      this.changes.push({ make, resolve: resolve as (result: unknown) => void, reject })
      if (!this.retry) this.scheduled ??= setImmediate(() => this.flush())
    })
  }

  /**
   * Makes a change that no acknowledgement waits for. Resolves when it was tried; one that came to nothing is made before all others
   * when the store takes changes again, unless another of the same key takes its place.
   */
  async owe(key: string, make: () => void): Promise<void> {
    this.owed.delete(key)
    try {
      await this.change(make)
    } catch (thrown) {
      if (databaseFailure(thrown) === 'other') return // It is no better later.
      this.owed.set(key, make)
      if (this.owed.size > maxOwed) this.owed.delete(this.owed.keys().next().value!)
    }
  }

  owes(key: string): boolean {
    return this.owed.has(key)
  }

  forgive(key: string): void {
    this.owed.delete(key)
  }

  /** Makes the last changes, waiting for a moment where another process has the store locked. */
  close(): void {
    clearImmediate(this.scheduled)
    clearTimeout(this.retry)
    clearInterval(this.probing)
    this.options.database.exec('PRAGMA busy_timeout = 1000')
    this.lockedSince = Number.NEGATIVE_INFINITY
    const owed = [...this.owed.values()].map(make => ({ make, resolve: () => {}, reject: () => {} }))
    this.changes.unshift(...owed)
    if (this.changes.length > 0) this.flush()
    clearInterval(this.probing)
  }

  private flush(): void {
    this.scheduled = undefined
    this.retry = undefined
    const { changes } = this
    this.changes = []
    try {
      this.commit(changes)
    } catch (thrown) {
      this.fail(changes, thrown)
    }
  }

  /** Throws what SQLite throws, with everything as it was before. */
  private commit(changes: readonly Change[]): void {
    const results = this.transact(() => changes.map(({ make }) => make()))
    this.lockedSince = undefined
    this.emit('committed')
    for (const [i, { resolve }] of changes.entries()) resolve(results[i])
  }

  private transact<T>(work: () => T): T {
    const { database } = this.options
    if (this.isStale) this.renew()
    database.exec('BEGIN IMMEDIATE')
    try {
      const result = work()
      database.exec('COMMIT')
      return result
    } catch (thrown) {
      try {
        // Some failures, a full disk among them, have rolled back already.
        this.isStale = true
        if (database.isTransaction) database.exec('ROLLBACK')
        this.renew()
      } catch (again) {
        this.emit('failed', this.errorOf(again)) // What is to be done follows from the first.
      }
      throw thrown
    }
  }

  /** Throws what its listeners throw; no change is made before they have read what is in the store. */
  private renew(): void {
    this.emit('rolledBack')
    this.isStale = false
  }

  private fail(changes: readonly Change[], thrown: unknown): void {
    const failure = databaseFailure(thrown)
    if (failure === 'locked' && this.mayWait()) {
      this.changes = [...changes, ...this.changes]
      this.retry = setTimeout(() => this.flush(), lockRetryMs)
      return
    }
    if (failure === 'other' && changes.length > 1) {
      // One of them has what a store cannot take; the others are not to suffer from it.
      for (const change of changes) this.tryAlone(change)
      return
    }
    const error = this.errorOf(thrown)
    if (failure !== 'other') this.refuse(error)
    for (const { reject } of changes) {
      this.emit('failed', error)
      reject(error)
    }
  }

  private tryAlone(change: Change): void {
    try {
      this.commit([change])
    } catch (thrown) {
      this.fail([change], thrown)
    }
  }

  private mayWait(): boolean {
    this.lockedSince ??= performance.now()
    return performance.now() - this.lockedSince < maxLockedMs
  }

  private refuse(error: Error): void {
    this.lockedSince = undefined
    this.waitFor(error)
    this.emit('refusing', error)
  }

  private waitFor(reason: Error): void {
    this.refused = reason
    this.probing ??= setInterval(() => this.probe(), probeMs)
  }

  private probe(): void {
    const { database, standIn } = this.options
    try {
      if (standIn) {
        standIn.make().takeOver(this)
        return
      }
      // Writes a page, in which nothing changes.
      const { user_version } = database.prepare('PRAGMA user_version').get() as { user_version: number }
      this.transact(() => database.exec(`PRAGMA user_version = ${user_version}`))
      this.transact(() => {
        for (const make of this.owed.values()) make()
      })
    } catch (thrown) {
      if (databaseFailure(thrown) === 'other') this.owed.clear() // They are no better later.
      this.refused = this.errorOf(thrown)
      return
    }
    this.owed.clear()
    this.refused = undefined
    clearInterval(this.probing)
    this.probing = undefined
    this.emit('committed')
    this.emit('writable')
  }

  /** Makes the changes that are owed to the store which another stood in for. */
  private takeOver({ owed, refused, probing }: Transactions): void {
    clearInterval(probing)
    for (const [key, make] of owed) this.owed.set(key, make)
    this.waitFor(refused!)
    this.probe()
  }

  private errorOf(thrown: unknown): Error {
    const { path, restore } = this.options
    return databaseFailure(thrown) === 'other'
      ? toFaultlineError(thrown, 'DATABASE_FAILED', 'not stored')
      : toDatabaseError(thrown, path, restore)
  }
}
