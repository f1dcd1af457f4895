import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { FaultlineError } from '@faultline/protocol'
import { isLoopback, type Logger, listenError, type Service, type TlsFiles, TlsMaterial } from '@faultline/runtime'

export interface WebServerOptions {
  host?: string
  /** 0 takes any free port. */
  port: number
  /** Speak HTTPS, with this certificate and key. */
  tls?: TlsFiles
  /** Whether pages, passwords and cookies may pass readable: on loopback alone (the default), or wherever `host` is. */
  plain?: 'loopback' | 'anywhere'
  logger: Logger
}

/** What browsers connect to: HTTP on this machine, HTTPS beyond it. */
export class WebServer implements Service {
  private readonly options: WebServerOptions
  private readonly listener: RequestListener
  private running: { server: Server | TlsServer; material?: TlsMaterial } | undefined

  constructor(options: WebServerOptions, listener: RequestListener) {
    this.options = options
    this.listener = listener
  }

  /** Throws `CONFIG_INVALID` for passwords that would pass readable, `CERTIFICATE_INVALID` and `ADDRESS_IN_USE`. */
  async start(): Promise<void> {
    const { host = '127.0.0.1', port, tls, plain = 'loopback', logger } = this.options
    if (!tls && plain === 'loopback' && !isLoopback(host)) {
      throw new FaultlineError(
        'CONFIG_INVALID',
        `host: without HTTPS the flows listen on loopback, not on ${host}; use tls, or say plain: anywhere`,
      )
    }
    const material = tls && new TlsMaterial(tls, logger)
    material?.start()
    const server = material ? createTlsServer(material.context, this.listener) : createServer(this.listener)
    material?.onChange(context => (server as TlsServer).setSecureContext(context))
    try {
      server.listen(port, host)
      await once(server, 'listening')
    } catch (error) {
      material?.stop()
      throw listenError(error, 'flows', port)
    }
    this.running = { server, ...(material && { material }) }
  }

  async stop(): Promise<void> {
    const running = this.running
    this.running = undefined
    running?.material?.stop()
    running?.server.close()
    // Browsers keep their connections open, the dashboard's web sockets among them.
    running?.server.closeAllConnections()
  }

  /** While it runs. */
  get server(): Server {
    return this.running!.server as Server
  }

  /** After start. */
  get port(): number {
    return (this.running?.server.address() as AddressInfo | null)?.port ?? this.options.port
  }

  get origin(): string {
    const { host = '127.0.0.1', tls } = this.options
    const reachable = host === '0.0.0.0' || host === '::' ? 'localhost' : host
    return `${tls ? 'https' : 'http'}://${reachable.includes(':') ? `[${reachable}]` : reachable}:${this.port}`
  }
}
