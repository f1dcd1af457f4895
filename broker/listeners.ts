import { once } from 'node:events'
import { createServer as createHttpServer, type Server as HttpServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { listenError } from '@faultline/runtime'
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

async function listen(server: Server | HttpServer, host: string, port: number, what: string): Promise<void> {
  server.listen({ host, port })
  try {
    await once(server, 'listening')
  } catch (thrown) {
    throw listenError(thrown, what, port)
  }
}

/** MQTT over TCP. */
export class TcpListener implements Listener {
  private readonly server: Server
  private readonly address: { host: string; port: number }

  constructor(address: { host: string; port: number }, accept: Accept) {
    this.address = address
    this.server = createServer((socket: Socket) => {
      socket.setNoDelay(true)
      accept(socket)
    })
  }

  get port(): number {
    return portOf(this.server)
  }

  start(): Promise<void> {
    return listen(this.server, this.address.host, this.address.port, 'MQTT broker')
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
  private readonly address: { host: string; port: number }

  constructor(address: { host: string; port: number }, maximumMessageBytes: number, accept: Accept) {
    this.address = address
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
      // MQTT 3.1.1, 6.0.0-3: the client offers the subprotocol "mqtt".
      if (socket.protocol !== 'mqtt') return socket.close(1002, 'subprotocol mqtt')
      // MQTT 3.1.1, 6.0.0-1: binary frames only.
      socket.on('message', (_, isBinary) => {
        if (!isBinary) socket.close(1003, 'binary frames')
      })
      accept(createWebSocketStream(socket), request)
    })
  }

  get port(): number {
    return portOf(this.server)
  }

  start(): Promise<void> {
    return listen(this.server, this.address.host, this.address.port, 'MQTT broker over WebSocket')
  }

  async stop(): Promise<void> {
    if (!this.server.listening) return
    this.server.close()
    this.sockets.close()
    for (const socket of this.sockets.clients) socket.terminate()
    this.server.closeAllConnections()
  }
}
