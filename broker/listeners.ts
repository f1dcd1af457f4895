import { once } from 'node:events'
import { createServer as createHttpServer, type Server as HttpServer, type IncomingMessage } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer, type TlsOptions, type Server as TlsServer } from 'node:tls'
import { type Logger, listenError, type TlsMaterial } from '@faultline/runtime'
import { createWebSocketStream, WebSocketServer } from 'ws'

/** A connection that may speak MQTT now. */
export interface Accepted {
  connection: Duplex
  /** What carries it: bytes on the wire are counted there, and its certificate is there. */
  socket: Socket
  /** There for a WebSocket. */
  request?: IncomingMessage
}

export interface ListenerOptions {
  /** Every address of the machine when undefined. */
  host: string | undefined
  port: number
  /** Without it everything is readable on the way. */
  tls?: { material: TlsMaterial; clientCertificates: 'none' | 'optional' | 'required' } | undefined
  /** MQTT over WebSocket, and the longest message of it. */
  webSocket?: { maximumMessageBytes: number } | undefined
  /** How long TLS and WebSocket may take, together, in ms. */
  handshakeTimeoutMs: number
  /** Asked before anything is read; a connection that is not admitted is ended at once. */
  admit(socket: Socket): boolean
  accept(accepted: Accepted): void
  /** A connection that ended before it could speak MQTT. */
  failed(socket: Socket, reason: string): void
  logger: Logger
}

/** A peer that vanished without a word is found out in minutes, whatever its keep-alive. */
const tcpOptions = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }

/**
 * A port that clients connect to: TCP, then TLS, then WebSocket, as far as they are wanted. Connections are taken by a
 * server of TCP alone and handed on, so that limits and deadlines hold before the costly steps, for all kinds alike.
 */
export class Listener {
  private readonly options: ListenerOptions
  private readonly server: Server
  private readonly upper: TlsServer | HttpServer | undefined
  private readonly sockets: WebSocketServer | undefined
  /** Those that may not yet speak MQTT, by where they come from: TLS makes another object of a connection. */
  private readonly pending = new Map<string, { socket: Socket; deadline: NodeJS.Timeout }>()

  constructor(options: ListenerOptions) {
    this.options = options
    this.server = createServer(tcpOptions, socket => this.take(socket))
    const rules = certificateRules(options.tls?.clientCertificates)
    if (options.webSocket) {
      this.upper = options.tls ? createHttpsServer(rules) : createHttpServer()
      this.sockets = this.createWebSockets(this.upper, options.webSocket.maximumMessageBytes)
    } else if (options.tls) {
      this.upper = createTlsServer(rules)
      this.upper.on('secureConnection', (socket: Socket) => this.hand({ connection: socket, socket }))
    }
    this.upper?.on('tlsClientError', (error: Error, socket: Socket) => options.failed(socket, error.message))
  }

  /** Where it listens; 0 before it does. */
  get port(): number {
    return (this.server.address() as AddressInfo | null)?.port ?? 0
  }

  /** Throws `ADDRESS_IN_USE`. */
  async start(): Promise<void> {
    const { host, port, tls, logger } = this.options
    if (tls) {
      const upper = this.upper as TlsServer
      upper.setSecureContext(tls.material.context)
      tls.material.onChange(context => upper.setSecureContext(context))
    }
    this.server.listen({ host, port })
    try {
      await once(this.server, 'listening')
    } catch (thrown) {
      throw listenError(thrown, 'MQTT broker', port)
    }
    // A connection that could not be taken (too many files are open) is one connection's trouble, not the broker's.
    this.server.on('error', error => logger.error({ error: error.message, port }, 'connection not taken'))
  }

  /** Takes no more connections and ends those that are not accepted yet; the others are their owner's to end. */
  async stop(): Promise<void> {
    if (this.server.listening) this.server.close()
    for (const { socket } of this.pending.values()) socket.destroy()
    for (const socket of this.sockets?.clients ?? []) socket.terminate()
  }

  private take(socket: Socket): void {
    const { admit, accept, failed, handshakeTimeoutMs } = this.options
    if (!admit(socket)) {
      socket.on('error', () => {})
      socket.destroy()
      return
    }
    if (!this.upper) {
      accept({ connection: socket, socket })
      return
    }
    const deadline = setTimeout(() => {
      socket.destroy()
      failed(socket, 'no handshake in time')
    }, handshakeTimeoutMs)
    const origin = originOf(socket)
    this.pending.set(origin, { socket, deadline })
    socket.once('close', () => this.settle(origin))
    this.upper.emit('connection', socket)
  }

  private settle(origin: string): void {
    clearTimeout(this.pending.get(origin)?.deadline)
    this.pending.delete(origin)
  }

  private hand(accepted: Accepted): void {
    this.settle(originOf(accepted.socket))
    this.options.accept(accepted)
  }

  /** MQTT over WebSocket (MQTT 3.1.1, 6), on any path; `/mqtt` is what clients try first. */
  private createWebSockets(server: HttpServer | TlsServer, maximumMessageBytes: number): WebSocketServer {
    const sockets = new WebSocketServer({
      server: server as HttpServer,
      // A message is kept until it is complete, which the packet cap behind it cannot see.
      maxPayload: maximumMessageBytes,
      handleProtocols: offered => (offered.has('mqtt') ? 'mqtt' : false),
    })
    server.on('request', (_, response) => {
      response.writeHead(426, { connection: 'close', upgrade: 'websocket' }).end('MQTT over WebSocket\n')
    })
    sockets.on('connection', (socket, request) => {
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
      this.hand({ connection, socket: request.socket, request })
    })
    return sockets
  }
}

function certificateRules(wanted: 'none' | 'optional' | 'required' = 'none'): TlsOptions {
  return { requestCert: wanted !== 'none', rejectUnauthorized: wanted === 'required' }
}

const originOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`
