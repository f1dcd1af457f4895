import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import metrics from 'prom-client'
import { z } from 'zod'
import { listenError } from './command-line.ts'
import type { Logger } from './logger.ts'
import type { Service } from './service.ts'

export { default as metrics } from 'prom-client'

/** The entry `operations` of a configuration. */
export const operationsConfig = z
  .strictObject({
    host: z
      .string()
      .min(1)
      .default('127.0.0.1')
      .describe('Address of /metrics, /healthz and /readyz; they ask nobody who they are'),
    port: z.int().min(0).max(65_535).describe('0 takes any free port'),
  })
  .optional()
  .describe('Prometheus metrics and health over HTTP; none when absent')

export interface OperationsOptions {
  host?: string
  port: number
  /** Shown beside those every process has: memory, CPU, event loop. */
  registries?: readonly metrics.Registry[]
  logger: Logger
  /** Why it should get no work now, by name; ready when there is none. */
  notReady?: () => readonly string[]
}

/**
 * What operators ask a process over HTTP: `/metrics` for Prometheus, `/healthz` (it lives: 200) and `/readyz` (200 when it
 * should get work, 503 with the reasons when not).
 */
export class Operations implements Service {
  private readonly options: OperationsOptions
  private server: Server | undefined
  private process: metrics.Registry | undefined

  constructor(options: OperationsOptions) {
    this.options = options
  }

  /** Where it listens; 0 while stopped. */
  get port(): number {
    return (this.server?.address() as AddressInfo | null | undefined)?.port ?? 0
  }

  /** Throws `ADDRESS_IN_USE`. */
  async start(): Promise<void> {
    const { host = '127.0.0.1', port } = this.options
    this.process = new metrics.Registry()
    metrics.collectDefaultMetrics({ register: this.process })
    const server = createServer((request, response) => {
      this.answer(request.method, request.url ?? '').then(
        ({ status, type = 'text/plain; charset=utf-8', body }) => {
          response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
        },
        (error: Error) => response.writeHead(500).end(`${error.message}\n`),
      )
    })
    server.listen({ host, port })
    try {
      await once(server, 'listening')
    } catch (thrown) {
      throw listenError(thrown, 'operations', port)
    }
    this.server = server
    this.options.logger.info({ host, port: this.port }, 'operations listen')
  }

  async stop(): Promise<void> {
    this.server?.close()
    this.server?.closeAllConnections()
    this.server = undefined
    this.process?.clear()
  }

  private async answer(
    method: string | undefined,
    url: string,
  ): Promise<{ status: number; type?: string; body: string }> {
    if (method !== 'GET' && method !== 'HEAD') return { status: 405, body: 'GET only\n' }
    const [path] = url.split('?')
    if (path === '/healthz') return { status: 200, body: 'ok\n' }
    if (path === '/readyz') {
      const reasons = this.options.notReady?.() ?? []
      return reasons.length === 0 ? { status: 200, body: 'ready\n' } : { status: 503, body: `${reasons.join('\n')}\n` }
    }
    if (path === '/metrics') {
      const all = metrics.Registry.merge([this.process!, ...(this.options.registries ?? [])])
      return { status: 200, type: all.contentType, body: await all.metrics() }
    }
    return { status: 404, body: '/metrics, /healthz, /readyz\n' }
  }
}
