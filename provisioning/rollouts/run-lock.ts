import { dirname, join } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import { type DatabaseSync, databaseFailure, openDatabase, type Service, toDatabaseError } from '@faultline/runtime'

/** Another process may look at the same moment, which takes it a few milliseconds. */
const lookMs = 500

const schema = ['CREATE TABLE held (marker INTEGER) STRICT']

/**
 * Held by the one process that runs the rollouts of a registry. It is a lock of SQLite on a file beside the registry: the
 * operating system releases it with the process, however that ends, and no clock and no process id is trusted.
 */
export class RunLock implements Service {
  private readonly path: string
  private database: DatabaseSync | undefined

  constructor(registry: string) {
    this.path = join(dirname(registry), 'rollouts.lock')
  }

  /** Throws `ROLLOUTS_SERVED` where another process holds it, and `DATABASE_FAILED`. */
  async start(): Promise<void> {
    const database = this.take()
    if (!database) throw new FaultlineError('ROLLOUTS_SERVED', `another process holds ${this.path}`)
    this.database = database
  }

  async stop(): Promise<void> {
    this.database?.close()
    this.database = undefined
  }

  /** Whether another process holds it now. Throws `DATABASE_FAILED`. */
  isHeldElsewhere(): boolean {
    const database = this.take()
    database?.close()
    return database === undefined
  }

  private take(): DatabaseSync | undefined {
    let database: DatabaseSync | undefined
    try {
      database = openDatabase(this.path, schema, { mode: 0o600, busyMs: lookMs })
      database.exec('BEGIN EXCLUSIVE')
      return database
    } catch (thrown) {
      database?.close()
      if (databaseFailure(thrown) === 'locked') return undefined
      throw toDatabaseError(thrown, this.path)
    }
  }
}
