import { join } from 'node:path'
import { addressKey, type Logger, LoginThrottle, type Service } from '@faultline/runtime'
import express, { type Application, type Request, type Response } from 'express'
import type { Accounts } from '../users.ts'
import type { Reaches } from './gate.ts'
import { loginPage } from './login-page.ts'
import { isOwnOrigin } from './origin.ts'
import { PageSockets } from './page-sockets.ts'
import { Sessions } from './sessions.ts'

export interface DashboardAccessOptions {
  accounts: Accounts
  /** Signs the cookies. */
  key: string
  /** Keeps the sessions. */
  directory: string
  reaches: Reaches
  logger: Logger
}

/** Wrong passwords that one address may send in a minute, and at once. */
const failuresPerMinute = 10

const paths = ['/login', '/logout', '/session']

/** Who gets to the dashboard: its login, its sessions, and what it asks before it shows anything. */
export class DashboardAccess implements Service {
  private readonly options: DashboardAccessOptions
  private readonly throttle = new LoginThrottle(failuresPerMinute)
  private sessions: Sessions | undefined
  private sockets: PageSockets | undefined
  private routes: Application | undefined

  constructor(options: DashboardAccessOptions) {
    this.options = options
  }

  async start(): Promise<void> {
    const { accounts, key, directory, reaches, logger } = this.options
    this.sessions = new Sessions(accounts, key, join(directory, 'sessions.db'), logger)
    this.sockets = new PageSockets(this.sessions, reaches, logger)
    this.sockets.start()
    this.routes = this.createRoutes(this.sessions)
  }

  async stop(): Promise<void> {
    this.sockets?.stop()
    this.sessions?.close()
    this.sockets = undefined
    this.sessions = undefined
  }

  /** For Node-RED's setting `dashboard`. */
  get settings(): Record<string, unknown> {
    return { middleware: [this.sessions!.middleware, this.guard], ioMiddleware: this.sockets!.middleware }
  }

  /** True for what is answered here: who is asked for, and who leaves. */
  handles(path: string): boolean {
    return paths.includes(path)
  }

  handle(request: object, response: object): void {
    this.routes!(request as Request, response as Response)
  }

  private readonly guard = (request: Request, response: Response, next: () => void): void => {
    if (this.sessions!.who(request)) next()
    else if (request.accepts(['html', '*/*']) === 'html' && request.method === 'GET') {
      response.redirect(302, `/login?to=${encodeURIComponent(request.originalUrl)}`)
    } else response.status(401).json({ error: 'LOGIN_REQUIRED' })
  }

  private createRoutes(sessions: Sessions): Application {
    const app = express()
    app.disable('x-powered-by')
    app.use((request, response, next) => {
      response.set('Cache-Control', 'no-store')
      response.set('Content-Security-Policy', `default-src 'none'; style-src 'unsafe-inline'; ${onlyHere}`)
      if (request.method === 'GET' || isOwnOrigin(request.headers)) next()
      else response.status(403).json({ error: 'ORIGIN_REFUSED' })
    })
    app.use(sessions.middleware)
    app.get('/login', async (request, response) => {
      const to = ownPath(request.query.to)
      if (sessions.who(request)) response.redirect(303, to)
      else response.send(await loginPage({ to }))
    })
    app.post('/login', express.urlencoded({ extended: false, limit: '4kb' }), (request, response, next) => {
      this.logIn(sessions, request, response).catch(next)
    })
    app.post('/logout', (request, response, next) => {
      const { sessionID } = request
      const leave = async () => {
        await sessions.logOut(request)
        this.sockets?.end(sessionID)
        response.clearCookie('faultline').redirect(303, '/login')
      }
      leave().catch(next)
    })
    app.get('/session', (request, response) => {
      const person = sessions.who(request)
      if (person) response.json(person)
      else response.status(401).json({ error: 'LOGIN_REQUIRED' })
    })
    return app
  }

  private async logIn(sessions: Sessions, request: Request, response: Response): Promise<void> {
    const { accounts, logger } = this.options
    const fields = (request.body ?? {}) as Record<string, unknown>
    const [name, password] = [textOf(fields.name), textOf(fields.password)]
    const to = ownPath(fields.to)
    const address = addressKey(request.socket)
    if (this.throttle.isExhausted(address) || accounts.isBusy) {
      const problem = 'Too many attempts to log in. Wait a minute.'
      response
        .status(429)
        .set('Retry-After', '60')
        .send(await loginPage({ problem, name, to }))
      return
    }
    const user = await accounts.verify(name, password)
    if (!user) {
      this.throttle.failed(address)
      logger.warn({ address, name }, 'login to the dashboard refused')
      response.status(401).send(await loginPage({ problem: 'The name or the password is wrong.', name, to }))
      return
    }
    await sessions.logIn(request, user)
    logger.info({ address, name, role: user.role }, 'logged in to the dashboard')
    response.redirect(303, to)
  }
}

const onlyHere = "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

/** A path of ours: never another host, however it is written. */
function ownPath(to: unknown): string {
  const base = 'http://here'
  if (typeof to !== 'string' || !to.startsWith('/') || !URL.canParse(to, base)) return '/'
  const { origin, pathname, search } = new URL(to, base)
  return origin === base && !pathname.startsWith('//') ? `${pathname}${search}` : '/'
}
