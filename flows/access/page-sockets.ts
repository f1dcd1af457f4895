import type { IncomingMessage } from 'node:http'
import { toFaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { Request, Response } from 'express'
import { type Reaches, signed } from './gate.ts'
import { isOwnOrigin } from './origin.ts'
import type { Person, Sessions } from './sessions.ts'

/** What this uses of a connection of socket.io's (https://socket.io/docs/v4/server-socket-instance). */
export interface PageSocket {
  readonly request: IncomingMessage
  readonly conn: { close(): void }
  use(middleware: (event: unknown[], next: () => void) => void): void
  on(event: 'disconnect', listener: () => void): void
  disconnect(close: true): void
}

/** How often sessions of open pages are looked at, in ms. */
const lookMs = 60_000

/** The web sockets of open pages: only for who is logged in, only as long, and under their name. */
export class PageSockets {
  private readonly sessions: Sessions
  private readonly reaches: Reaches
  private readonly logger: Logger
  /** Each with the id of its session. */
  private readonly open = new Map<PageSocket, string>()
  private timer: NodeJS.Timeout | undefined

  constructor(sessions: Sessions, reaches: Reaches, logger: Logger) {
    this.sessions = sessions
    this.reaches = reaches
    this.logger = logger
  }

  start(): void {
    this.timer = setInterval(() => this.look(), lookMs).unref()
  }

  stop(): void {
    clearInterval(this.timer)
  }

  /** For the dashboard's setting `ioMiddleware`. */
  readonly middleware = (socket: PageSocket, next: (error?: Error) => void): void => {
    const request = socket.request as Request
    // A handshake has a request, and no answer that a cookie could go into.
    this.sessions.middleware(request, {} as Response, error => {
      const person = error || !isOwnOrigin(request.headers) ? undefined : this.sessions.who(request)
      if (person) {
        this.admit(socket, request.sessionID, person)
        next()
      } else {
        next(new Error('LOGIN_REQUIRED'))
        // The connection below would stay, with nobody on it.
        setImmediate(() => socket.conn.close())
      }
    })
  }

  /** Ends the pages of a session. */
  end(session: string): void {
    for (const [socket, id] of this.open) if (id === session) socket.disconnect(true)
  }

  private admit(socket: PageSocket, session: string, person: Person): void {
    this.open.set(socket, session)
    socket.on('disconnect', () => this.open.delete(socket))
    socket.use((event, pass) => {
      if (signed(event, person, this.reaches)) pass()
    })
  }

  private look(): void {
    try {
      for (const [socket, id] of this.open) if (!this.sessions.renew(id)) socket.disconnect(true)
    } catch (thrown) {
      // They stay until the next look.
      const { code, message } = toFaultlineError(thrown, 'DATABASE_FAILED')
      this.logger.error({ code, error: message }, 'the sessions of open pages could not be checked')
    }
  }
}
