import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import type { Logger } from '@faultline/runtime'
import type { Request, RequestHandler } from 'express'
import session from 'express-session'
import type { Accounts, FlowUser, UserRole } from '../users.ts'
import { SessionStore } from './session-store.ts'

declare module 'express-session' {
  interface SessionData {
    user: string
    /** Of the hash of the password at the login: with another password it ends. */
    proof: string
    /** When somebody logged in, in ms since 1970. */
    since: number
  }
}

/** Somebody who is logged in. */
export interface Person {
  name: string
  role: UserRole
}

/** However busy it was, after so long a session ends. */
const longestMs = 30 * 86_400_000

/**
 * Sessions of the dashboard: a random id in a signed cookie, everything else on this side. The cookie is out of reach of
 * scripts, goes with no request that another site starts but for following a link, and over HTTPS with nothing less.
 */
export class Sessions {
  /** Puts the session of its cookie into a request. */
  readonly middleware: RequestHandler
  private readonly accounts: Accounts
  private readonly store: SessionStore

  /** `key` signs the cookies. */
  constructor(accounts: Accounts, key: string, database: string, logger: Logger) {
    this.accounts = accounts
    this.store = new SessionStore(database, logger)
    this.middleware = session({
      name: 'faultline',
      secret: key,
      store: this.store,
      resave: false,
      saveUninitialized: false,
      // A proxy that speaks HTTPS for us says so; who claims it without one only makes their own cookie useless.
      proxy: true,
      cookie: { httpOnly: true, sameSite: 'lax', secure: 'auto' },
    })
  }

  /** After the middleware: whose request it is. */
  who({ session }: Pick<Request, 'session'>): Person | undefined {
    return this.personOf(session)
  }

  /** Whose session it is, and keeps it: somebody looks at a page. */
  renew(id: string): Person | undefined {
    const person = this.personOf(this.store.find(id))
    if (person) this.store.renew(id)
    return person
  }

  /** Under a new id: one that somebody knew before must not become a login. */
  async logIn(request: Request, user: FlowUser): Promise<void> {
    const { session } = request
    await promisify(session.regenerate.bind(session))()
    Object.assign(request.session, { user: user.name, proof: proofOf(user), since: Date.now() })
  }

  async logOut({ session }: Request): Promise<void> {
    await promisify(session.destroy.bind(session))()
  }

  close(): void {
    this.store.close()
  }

  private personOf(data: Partial<session.SessionData> | undefined): Person | undefined {
    const user = data?.user === undefined ? undefined : this.accounts.find(data.user)
    if (!user || data?.proof !== proofOf(user) || Date.now() - data.since! > longestMs) return undefined
    return { name: user.name, role: user.role }
  }
}

const proofOf = ({ passwordHash }: FlowUser): string => createHash('sha256').update(passwordHash).digest('base64url')
