import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, isIP } from 'node:net'
import { join } from 'node:path'
import { type Logger, listenError, type Service } from '@faultline/runtime'
import { z } from 'zod'
import { StatusBoard, type StatusBoardOptions } from './status-board.ts'

/** The entry `statusPage` of a device agent's configuration. */
export const statusPageConfig = z
  .strictObject({
    host: z
      .string()
      .min(1)
      .default('127.0.0.1')
      .describe('Address of the page; it asks nobody who they are, and changes nothing'),
    port: z.int().min(0).max(65_535).default(8_180).describe('0 takes any free port'),
  })
  .optional()
  .describe('A page for a person beside the machine: waveform, spectra, decisions, spool, link; none when absent')

export interface StatusPageOptions {
  host?: string
  port: number
  board: Pick<StatusBoard, 'follow' | 'unfollow' | 'device' | 'point'>
  logger: Logger
}

/** The page of an agent. */
export function statusPageOf(
  shown: StatusBoardOptions,
  config: NonNullable<z.infer<typeof statusPageConfig>>,
  logger: Logger,
): StatusPage {
  return new StatusPage({ ...config, board: new StatusBoard(shown), logger })
}

const files: Record<string, { file: string; type: string }> = {
  '/': { file: 'page.html', type: 'text/html; charset=utf-8' },
  '/page.css': { file: 'page.css', type: 'text/css; charset=utf-8' },
  '/page.js': { file: 'page.js', type: 'text/javascript; charset=utf-8' },
}

const headers = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

/** Pages that follow the agent at once; a spectrum for each is computed on the device. */
const MOST_WATCHERS = 4
const REFRESH_MS = 500

/**
 * A read-only page about the device, for a person with a laptop beside the machine. `GET /status.json?point=NAME` gives what
 * it shows, `GET /events?point=NAME` the same again and again as server-sent events. Asked by a name that is neither its host's nor
 * `localhost` it answers nothing, so that no page of another site can read it through a name of its own (DNS rebinding).
 */
export class StatusPage implements Service {
  private readonly options: StatusPageOptions
  private server: Server | undefined
  private readonly watchers = new Set<NodeJS.Timeout>()

  constructor(options: StatusPageOptions) {
    this.options = options
  }

  /** Where it listens; 0 while stopped. */
  get port(): number {
    return (this.server?.address() as AddressInfo | null | undefined)?.port ?? 0
  }

  /** Throws `ADDRESS_IN_USE`. */
  async start(): Promise<void> {
    const { host = '127.0.0.1', port, logger } = this.options
    const server = createServer((request, response) => {
      this.answer(request, response).catch((error: Error) => {
        logger.error({ error: error.message }, 'status page')
        if (!response.headersSent) response.writeHead(500, headers)
        response.end()
      })
    })
    server.listen({ host, port })
    try {
      await once(server, 'listening')
    } catch (thrown) {
      throw listenError(thrown, 'statusPage', port)
    }
    this.server = server
    this.options.board.follow()
    logger.info({ url: `http://${host.includes(':') ? `[${host}]` : host}:${this.port}/` }, 'status page')
  }

  async stop(): Promise<void> {
    for (const timer of this.watchers) clearInterval(timer)
    this.watchers.clear()
    this.options.board.unfollow()
    this.server?.close()
    this.server?.closeAllConnections()
    this.server = undefined
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refuse = (status: number, why: string): void => {
      response.writeHead(status, { ...headers, 'content-type': 'text/plain; charset=utf-8' }).end(`${why}\n`)
    }
    if (!this.isMine(request.headers.host)) return refuse(421, 'this page is not known by that name')
    if (request.method !== 'GET') return refuse(405, 'GET only')
    const url = new URL(request.url ?? '/', 'http://localhost')
    const page = Object.hasOwn(files, url.pathname) ? files[url.pathname] : undefined
    if (page) {
      const body = await readFile(join(import.meta.dirname, page.file))
      response.writeHead(200, { ...headers, 'content-type': page.type }).end(body)
      return
    }
    if (url.pathname !== '/status.json' && url.pathname !== '/events') return refuse(404, 'there is no such page')
    const { board } = this.options
    const name = url.searchParams.get('point') ?? board.device.points[0]!.point
    const body = () => JSON.stringify({ device: board.device, point: board.point(name) })
    if (!board.point(name)) return refuse(404, 'there is no such point')
    if (url.pathname === '/status.json') {
      response.writeHead(200, { ...headers, 'content-type': 'application/json' }).end(body())
      return
    }
    if (this.watchers.size >= MOST_WATCHERS) return refuse(503, `${MOST_WATCHERS} pages are open already`)
    this.follow(response, body)
  }

  private follow(response: ServerResponse, body: () => string): void {
    response.writeHead(200, { ...headers, 'content-type': 'text/event-stream' })
    const tell = () => {
      // A page that does not read gets the newest when it does.
      if (response.writableNeedDrain) return
      response.write(`data: ${body()}\n\n`)
    }
    const timer = setInterval(tell, REFRESH_MS)
    this.watchers.add(timer)
    response.on('close', () => {
      clearInterval(timer)
      this.watchers.delete(timer)
    })
    tell()
  }

  private isMine(given: string | undefined): boolean {
    const name = given?.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
    return name !== undefined && (name === 'localhost' || name === this.options.host || isIP(name) !== 0)
  }
}
