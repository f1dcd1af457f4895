import { FaultlineError, lastEndQuery } from '@faultline/protocol'
import {
  type DatabaseSync,
  inTransaction,
  openDatabase,
  type Service,
  toDatabaseError,
  versionOf,
} from '@faultline/runtime'
import { migrations } from './migrations.ts'

/** A registry holds what no other file does, so that a damaged one is never replaced by an empty one. */
const restore =
  'move it and the files beside it away, restore it from an export with "npm run provision -- import FILE", and start again'

/** The SQLite file of a registry. Several processes may use it at once: every change is one transaction. */
export class RegistryDatabase implements Service {
  private readonly path: string
  private open: DatabaseSync | undefined

  /** `:memory:` works, for one process. */
  constructor(path: string) {
    this.path = path
  }

  async start(): Promise<void> {
    // Only its owner may read the hashes.
    this.open = openDatabase(this.path, migrations, { mode: 0o600, restore })
  }

  async stop(): Promise<void> {
    this.open?.close()
    this.open = undefined
  }

  /** Throws `DATABASE_FAILED`, and what `work` throws. */
  read<T>(work: (database: DatabaseSync) => T): T {
    if (!this.open) throw new FaultlineError('DATABASE_FAILED', `${this.path} is not open`)
    try {
      return work(this.open)
    } catch (thrown) {
      throw toDatabaseError(thrown, this.path, restore)
    }
  }

  /** All of `work` or nothing; it is given the time that the change is made at, ISO 8601. */
  change<T>(work: (database: DatabaseSync, now: string) => T): T {
    return this.read(database => inTransaction(database, () => work(database, new Date().toISOString())))
  }

  /** See `RegistryReader`. */
  version(): string {
    return this.read(database => {
      const { at } = database.prepare(lastEndQuery).get() as { at: string }
      return `${versionOf(database)} ${at}`
    })
  }
}
