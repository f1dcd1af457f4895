import { constants } from 'node:fs'
import { access, mkdir, writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join, resolve } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { Service } from '@faultline/runtime'
import type { StoreSettings } from '@faultline/telemetry'
import { DashboardAccess } from './access/dashboard-access.ts'
import { configuredAdmin, firstAdmin } from './access/first-admin.ts'
import { buildNodes, nodesPackage, shippedFlow } from './build.ts'
import { flowsStarted } from './flows-started.ts'
import { upgradeSavedPages } from './saved-pages.ts'
import {
  credentialKeyFile,
  editorRoot,
  type FlowsAccess,
  keptSecret,
  nodeRedSettings,
  sessionKeyFile,
} from './settings.ts'
import { Accounts, type FlowUser } from './users.ts'
import { WebServer, type WebServerOptions } from './web-server.ts'

export interface FlowRunnerOptions extends WebServerOptions {
  /** Flows, credentials, the built nodes and who is logged in; made when it does not exist. */
  userDirectory: string
  broker: FlowsAccess
  /** What query nodes ask, unless they name another. */
  store?: StoreSettings
  /** Directories of bundles whose calibration the page of decisions shows. */
  bundles?: readonly string[]
  /** Who may log in, in place of the one user `admin`. */
  users?: readonly FlowUser[]
  /** Of the user `admin`. When absent one is made at the first start; the user directory keeps its hash. */
  adminPassword?: string
  /** Told the password that was just made: the one time that anybody can be. */
  onFirstPassword?: (password: string) => void
  /** Name inside the user directory, or an absolute path. The shipped flow is written there if nothing is. */
  flowFile?: string
}

type NodeRed = typeof import('node-red')['default']

/** Node-RED is one object per process and cannot start twice (lib/red.js says so of `stop`). */
let used = false

/** Embeds Node-RED with the nodes, the flow and the dashboard of Faultline. */
export class FlowRunner implements Service {
  private readonly options: FlowRunnerOptions
  private readonly directory: string
  private readonly web: WebServer
  private red: NodeRed | undefined
  private access: DashboardAccess | undefined
  private ready = false

  constructor(options: FlowRunnerOptions) {
    this.options = options
    this.directory = resolve(options.userDirectory)
    this.web = new WebServer(options, (request, response) => this.handle(request, response))
  }

  /** After start. */
  get port(): number {
    return this.web.port
  }

  get dashboardUrl(): string {
    return `${this.web.origin}/dashboard/fleet`
  }

  get editorUrl(): string {
    return `${this.web.origin}${editorRoot}/`
  }

  /** Resolves when the flows run. Throws what the web server does, and `FLOWS_FAILED`. */
  async start(): Promise<void> {
    if (used) throw new FaultlineError('FLOWS_FAILED', 'Node-RED can run only once per process')
    await this.web.start()
    used = true
    try {
      await this.startNodeRed()
    } catch (error) {
      await this.stop()
      throw toFaultlineError(error, 'FLOWS_FAILED', 'Node-RED did not start')
    }
  }

  /**
   * Ends the flows and every connection. If somebody was logged in to the editor, a timer of Node-RED's (the end of that
   * session, days away) stays: a process that has nothing else to do must end by `process.exit`.
   */
  async stop(): Promise<void> {
    const red = this.red
    const access = this.access
    this.ready = false
    this.red = undefined
    this.access = undefined
    try {
      await red?.stop()
    } finally {
      await this.web.stop()
      await access?.stop()
    }
  }

  private async startNodeRed(): Promise<void> {
    const { options, directory } = this
    const nodesDirectory = join(directory, 'faultline-nodes')
    const flowFile = resolve(directory, options.flowFile ?? 'flows.json')
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const credentialKey = await keptSecret(credentialKeyFile(directory))
    const [{ default: red }, accounts] = await Promise.all([
      import('node-red'),
      this.accounts(),
      buildNodes(nodesDirectory),
      this.prepareFlow(flowFile),
    ])
    const access = new DashboardAccess({
      accounts,
      key: await keptSecret(sessionKeyFile(directory)),
      directory,
      reaches: widget => reachesOwnNodes(red, widget),
      logger: options.logger,
    })
    await access.start()
    this.access = access
    red.init(
      this.web.server,
      nodeRedSettings({
        userDirectory: directory,
        nodesDirectory,
        flowFile,
        port: this.port,
        accounts,
        dashboard: access.settings,
        credentialKey,
        broker: options.broker,
        store: options.store,
        bundles: options.bundles,
        logger: options.logger,
      }),
    )
    this.red = red
    const started = flowsStarted(red.events)
    // Should `red.start()` throw, nobody waits for this one.
    started.catch(() => {})
    await Promise.race([red.start(), started])
    const broken = red.nodes.getNodeList(set => set.module === nodesPackage && set.err !== undefined)[0]
    if (broken) throw new FaultlineError('FLOWS_FAILED', `the nodes did not load: ${String(broken.err)}`)
    await started
    this.ready = true
    options.logger.info({ dashboard: this.dashboardUrl, editor: this.editorUrl }, 'flows running')
  }

  private async accounts(): Promise<Accounts> {
    const { users, adminPassword, onFirstPassword } = this.options
    if (users) return new Accounts(users)
    if (adminPassword !== undefined) return new Accounts([await configuredAdmin(this.directory, adminPassword)])
    const { user, password } = await firstAdmin(this.directory)
    if (password !== undefined) onFirstPassword?.(password)
    return new Accounts([user])
  }

  /** The shipped flow only if there is none: what a user has changed stays, but for pages of earlier versions. */
  private async prepareFlow(file: string): Promise<void> {
    try {
      await access(file, constants.F_OK)
    } catch {
      return writeFile(file, await shippedFlow())
    }
    await upgradeSavedPages(file, this.options.logger)
  }

  private handle(request: IncomingMessage, response: ServerResponse): void {
    setHeaders(response)
    const { red, access } = this
    const path = request.url?.split('?')[0] ?? '/'
    if (!red || !access || !this.ready) {
      response.writeHead(503, { 'Retry-After': '2' }).end('Node-RED is starting\n')
    } else if (access.handles(path)) {
      access.handle(request, response)
    } else if (path === '/') {
      response.writeHead(302, { Location: '/dashboard/fleet' }).end()
    } else if (path === editorRoot || path.startsWith(`${editorRoot}/`)) {
      mount(request, editorRoot)
      red.httpAdmin(request, response)
    } else {
      red.httpNode(request, response)
    }
  }
}

/**
 * Against frames of other sites, guessed types of content, and addresses that leak. The editor needs no more against forged
 * requests: it sends a token that no other site has, in a header, and no cookie. Addresses stay with us but are not hidden from
 * ourselves: a browser that may not say where a form was would not say that it was ours either.
 */
function setHeaders(response: ServerResponse): void {
  response.setHeader('X-Content-Type-Options', 'nosniff')
  response.setHeader('Content-Security-Policy', "frame-ancestors 'self'; object-src 'none'; base-uri 'self'")
  response.setHeader('Referrer-Policy', 'same-origin')
}

/** Whether what a widget of the dashboard sends is heard by nodes of Faultline and nobody else. */
function reachesOwnNodes(red: NodeRed, widget: string): boolean {
  const heard = red.nodes.getNode(widget)?.wires.flat() ?? []
  return heard.length > 0 && heard.every(id => red.nodes.getNode(id)?.type.startsWith('faultline-'))
}

/** What Express' `use(root, app)` does to a request: the application sees the path below its root. */
function mount(request: IncomingMessage & { originalUrl?: string; baseUrl?: string }, root: string): void {
  request.originalUrl = request.url
  request.baseUrl = root
  const rest = request.url!.slice(root.length)
  request.url = rest.startsWith('/') ? rest : `/${rest}`
}
