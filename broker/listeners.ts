import { once } from 'node:events'
import { createServer as createHttpServer, type Server as HttpServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Logger, listenError } from '@faultline/runtime'
import { createWebSocketStream, WebSocketServer } from 'ws'

/** `request` is there for a WebSocket. */
type Accept = (connection: Duplex, request?: IncomingMessage) => void

export interface Listener {
  /** Where it listens; 0 before it does. */
  readonly port: number
  /** Throws `ADDRESS_IN_USE`. */
  start(): Promise<void>
  /** Takes no more connections; the open ones are their owner's to end. */
  stop(): Promise<void>
}

const portOf = (server: Server | HttpServer): number => (server.address() as AddressInfo | null)?.port ?? 0

export interface ListenerOptions {
  host: string
  port: number
  accept: Accept
  logger: Logger
}

async function listen(server: Server | HttpServer, options: ListenerOptions, what: string): Promise<void> {
  const { host, port, logger } = options
  server.listen({ host, port })
  try {
    await once(server, 'listening')
  } catch (thrown) {
    throw listenError(thrown, what, port)
  }
  // A connection that could not be taken (too many files are open) is one connection's trouble, not the broker's.
  server.on('error', error => logger.error({ error: error.message, port }, 'connection not taken'))
}

/** MQTT over TCP. */
export class TcpListener implements Listener {
  private readonly server: Server
  private readonly options: ListenerOptions

  constructor(options: ListenerOptions) {
    this.options = options
    this.server = createServer((socket: Socket) => {
      socket.setNoDelay(true)
      options.accept(socket)
    })
  }

  get port(): number {
    return portOf(this.server)
  }

  start(): Promise<void> {
    return listen(this.server, this.options, 'MQTT broker')
  }

  async stop(): Promise<void> {
    if (!this.server.listening) return
    this.server.close()
  }
}

/** MQTT over WebSocket (MQTT 3.1.1, 6), on any path; `/mqtt` is what clients try first. */
export class WebSocketListener implements Listener {
  private readonly server: HttpServer
  private readonly sockets: WebSocketServer
  private readonly options: ListenerOptions

  constructor(options: ListenerOptions, maximumMessageBytes: number) {
    this.options = options
    this.server = createHttpServer((_, response) => {
      response.writeHead(426, { connection: 'close', upgrade: 'websocket' }).end('MQTT over WebSocket\n')
    })
    this.sockets = new WebSocketServer({
      server: this.server,
      // A message is kept until it is complete, which the packet cap behind it cannot see.
      maxPayload: maximumMessageBytes,
      handleProtocols: offered => (offered.has('mqtt') ? 'mqtt' : false),
    })
    this.sockets.on('error', () => {}) // The HTTP server's, which listen() reports.
    this.sockets.on('connection', (socket, request) => {
      // For as long as it lives: it also reads frames after it was told to close, and the stream hears one error only.
      socket.on('error', () => {})
      // MQTT 3.1.1, 6.0.0-3: the client offers the subprotocol "mqtt".
      if (socket.protocol !== 'mqtt') return socket.close(1002, 'subprotocol mqtt')
      const connection = createWebSocketStream(socket)
      socket.on('message', (_, isBinary) => {
        if (isBinary) return
        // MQTT 3.1.1, 6.0.0-1: binary frames only. The stream has the text by now; nobody shall read it there.
        socket.close(1003, 'binary frames')
        connection.destroy()
      })
      options.accept(connection, request)
    })
  }

  get port(): number {
    return portOf(this.server)
  }

  start(): Promise<void> {
    return listen(this.server, this.options, 'MQTT broker over WebSocket')
  }

  async stop(): Promise<void> {
    if (!this.server.listening) return
    this.server.close()
    this.sockets.close()
    for (const socket of this.sockets.clients) socket.terminate()
    this.server.closeAllConnections()
  }
}
