import { createHash } from 'node:crypto'
import { toFaultlineError } from '@faultline/protocol'
import { type DatabaseSync, type Logger, openDatabase, openOrSetAside } from '@faultline/runtime'
import { type SessionData, Store } from 'express-session'

type Callback = (error?: unknown) => void

/** Without a request or an open page for so long a session ends: a night passes, a weekend does not. */
const idleMs = 12 * 3_600_000

const schema = `CREATE TABLE sessions (id TEXT PRIMARY KEY, data TEXT NOT NULL, ends INTEGER NOT NULL) STRICT`

/**
 * Who is logged in, on disk: a restart of the flows logs nobody out. Ids are kept as hashes, so that the file lets nobody in.
 * Logins are all that a damaged file costs, which is set aside, and one that cannot be opened, in whose place memory is: the
 * alarms of the flows do not wait for a disk.
 */
export class SessionStore extends Store {
  private readonly database: DatabaseSync

  constructor(path: string, logger: Logger) {
    super()
    this.database = open(path, logger)
  }

  override get(id: string, callback: (error: unknown, session?: SessionData | null) => void): void {
    answer(callback, () => this.find(id) ?? null)
  }

  override set(id: string, session: SessionData, callback?: Callback): void {
    answer(callback, () => {
      this.database.prepare('DELETE FROM sessions WHERE ends <= ?').run(Date.now())
      this.database
        .prepare('INSERT OR REPLACE INTO sessions (id, data, ends) VALUES (?, ?, ?)')
        .run(digest(id), JSON.stringify(session), Date.now() + idleMs)
    })
  }

  override touch(id: string, _session: SessionData, callback?: Callback): void {
    answer(callback, () => this.renew(id))
  }

  override destroy(id: string, callback?: Callback): void {
    answer(callback, () => {
      this.database.prepare('DELETE FROM sessions WHERE id = ?').run(digest(id))
    })
  }

  /** Undefined once it has ended. */
  find(id: string): SessionData | undefined {
    const row = this.database.prepare('SELECT data FROM sessions WHERE id = ? AND ends > ?').get(digest(id), Date.now())
    return row && (JSON.parse(row.data as string) as SessionData)
  }

  renew(id: string): void {
    this.database.prepare('UPDATE sessions SET ends = ? WHERE id = ?').run(Date.now() + idleMs, digest(id))
  }

  close(): void {
    this.database.close()
  }
}

function open(path: string, logger: Logger): DatabaseSync {
  try {
    const { database, setAside } = openOrSetAside(path, [schema])
    if (setAside) {
      const fields = { code: 'DATABASE_FAILED', ...setAside }
      logger.error(fields, 'the file of the logins was damaged and was set aside: everybody has to log in again')
    }
    return database
  } catch (thrown) {
    const { code, message } = toFaultlineError(thrown, 'DATABASE_FAILED')
    logger.error({ code, error: message }, 'logins are kept in memory, and end with this process')
    return openDatabase(':memory:', [schema])
  }
}

const digest = (id: string): string => createHash('sha256').update(id).digest('base64url')

function answer<T>(callback: ((error: unknown, value?: T) => void) | undefined, work: () => T): void {
  let value: T
  try {
    value = work()
  } catch (error) {
    callback?.(error)
    return
  }
  callback?.(null, value)
}
