import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { FaultlineError, type RegistryReader } from '@faultline/protocol'
import { isLoopback, type Logger, type Service, type TlsFiles, TlsMaterial } from '@faultline/runtime'
import { Bridge, type BridgeSettings } from './bridge.ts'
import { bridgeSession } from './bridge-queue.ts'
import { ConnectionLimits } from './connection-limits.ts'
import { type BrokerCounts, noCounts } from './counts.ts'
import { Engine } from './engine.ts'
import { controlInlet } from './inlet.ts'
import { type BrokerLimits, defaultLimits } from './limits.ts'
import { type Accepted, Listener, type ListenerOptions } from './listeners.ts'
import { RateLimit } from './rate-limit.ts'
import { SystemTopics } from './system-topics.ts'

export interface BrokerTls extends TlsFiles {
  /** Every address of the machine when absent. */
  host?: string | undefined
  /** MQTT over TLS; 0 takes any free port. */
  port: number
  /** MQTT over WebSocket over TLS; none when absent, any free port when 0. */
  webSocketPort?: number | undefined
  /** Whether clients must or may show a certificate, which then stands for the secret. */
  clientCertificates: 'none' | 'optional' | 'required'
}

export interface BrokerOptions {
  /** Where MQTT goes readable: loopback when absent. */
  host?: string
  /** MQTT over TCP; 0 takes any free port. */
  port: number
  /** MQTT over WebSocket; none when absent, any free port when 0. */
  webSocketPort?: number
  /** Whether there is MQTT without TLS: on loopback alone (the default), wherever `host` says, or not at all. */
  plain?: 'loopback' | 'anywhere' | 'none'
  tls?: BrokerTls
  registry: RegistryReader
  /** The file in which sessions and messages outlive the broker; they end with it when absent. */
  store?: string | undefined
  /** URL of a Redis in which several brokers keep sessions and messages together; takes the place of `store`. */
  redis?: string | undefined
  /** To an upstream broker, for second opinions of its servers; none when absent. */
  bridge?: BridgeSettings | undefined
  limits?: Partial<BrokerLimits>
  logger: Logger
}

interface Running {
  engine: Engine
  listeners: { plain?: Listener; webSocket?: Listener; tls?: Listener; tlsWebSocket?: Listener }
  material: TlsMaterial | undefined
  systemTopics: SystemTopics
  bridge: Bridge | undefined
  listening: boolean
}

/**
 * An MQTT 3.1.1 broker in which every client is an enrolled identity with the rights of its role, within limits. What it
 * has acknowledged is in its store by then.
 */
export class Broker implements Service {
  readonly counts: BrokerCounts = noCounts()
  private readonly options: BrokerOptions
  private readonly limits: BrokerLimits
  private readonly host: string
  private readonly connections = new Set<Duplex>()
  private readonly connectionLimits: ConnectionLimits
  private running: Running | undefined

  constructor(options: BrokerOptions) {
    this.options = options
    this.limits = { ...defaultLimits, ...options.limits }
    this.host = options.host ?? '127.0.0.1'
    this.connectionLimits = new ConnectionLimits(this.limits)
  }

  /** The port of MQTT over TCP; 0 while stopped. */
  get port(): number {
    return this.running?.listeners.plain?.port ?? 0
  }

  /** The port of MQTT over WebSocket; 0 while stopped or when there is none. */
  get webSocketPort(): number {
    return this.running?.listeners.webSocket?.port ?? 0
  }

  /** The port of MQTT over TLS; 0 while stopped or when there is none. */
  get tlsPort(): number {
    return this.running?.listeners.tls?.port ?? 0
  }

  /** The port of MQTT over WebSocket over TLS; 0 while stopped or when there is none. */
  get tlsWebSocketPort(): number {
    return this.running?.listeners.tlsWebSocket?.port ?? 0
  }

  /** The bridge to an upstream broker; undefined while stopped or when there is none. */
  get bridge(): Bridge | undefined {
    return this.running?.bridge
  }

  /** What is running, for whoever watches it; undefined while stopped. */
  get engine(): Engine | undefined {
    return this.running?.engine
  }

  /** Why it should get no clients now; none when it should. */
  notReady(): string[] {
    if (!this.running?.listening) return ['the broker does not listen']
    const { trouble } = this.running.engine
    if (trouble !== undefined) return [trouble]
    try {
      this.options.registry.version()
    } catch (thrown) {
      return [`the registry cannot be read: ${(thrown as Error).message}`]
    }
    return []
  }

  /** Throws `ADDRESS_IN_USE`, `CONFIG_INVALID`, `CERTIFICATE_INVALID`, `DATABASE_FAILED` and `REDIS_UNREACHABLE`. */
  async start(): Promise<void> {
    const { registry, store = ':memory:', redis, logger, tls, bridge: above, plain = 'loopback' } = this.options
    const { counts, limits } = this
    checkTransport(this.options)
    const material = tls && new TlsMaterial(tls, logger)
    material?.start()
    const engine = new Engine({ registry, limits, store, redis, counts, logger })
    const listeners = this.createListeners(engine, material)
    const bridge = above && new Bridge({ ...above, near: engine, logger })
    const systemTopics = new SystemTopics(engine, counts)
    this.running = { engine, listeners, material, systemTopics, bridge, listening: false }
    try {
      await engine.start()
      // Of a cluster, another broker may have them.
      if (redis === undefined) await engine.sessions.endBridges(above && bridgeSession(above.site))
      // Before anybody can publish: what waited comes first.
      await bridge?.start()
      for (const listener of Object.values(listeners)) await listener.start()
    } catch (error) {
      await this.stop()
      throw error
    }
    this.running.systemTopics.start()
    this.running.listening = true
    const { host, port, webSocketPort, tlsPort, tlsWebSocketPort } = this
    logger.info({ host, port, webSocketPort, tlsPort, tlsWebSocketPort }, 'broker listens')
    if (plain === 'anywhere') logger.warn({ host }, 'MQTT without TLS: secrets and data cross this network readable')
  }

  /** Takes no more connections, then ends those there are. */
  async stop(): Promise<void> {
    const running = this.running
    if (!running) return
    this.running = undefined
    running.systemTopics.stop()
    for (const listener of Object.values(running.listeners)) await listener.stop()
    await running.bridge?.stop()
    running.material?.stop()
    await running.engine.stop()
    // Aedes ends those that have logged in; the others may be half open.
    for (const connection of this.connections) connection.destroy()
    this.options.logger.info(this.counts, 'broker stopped')
  }

  private createListeners(engine: Engine, material: TlsMaterial | undefined): Running['listeners'] {
    const { port, webSocketPort, tls, plain, logger } = this.options
    const { packetBytes, connectTimeoutMs: handshakeTimeoutMs } = this.limits
    const common: Omit<ListenerOptions, 'host' | 'port'> = {
      handshakeTimeoutMs,
      admit: socket => this.admit(socket),
      accept: accepted => this.accept(engine, accepted),
      failed: (socket, reason) => {
        this.counts.limited.handshake++
        logger.warn({ address: socket.remoteAddress, reason }, 'connection not accepted')
      },
      logger,
    }
    // A frame of several packets is legal, but no client of ours sends one longer than its longest packet.
    const webSocket = { maximumMessageBytes: packetBytes + 5 }
    const listeners: Running['listeners'] = {}
    if (plain !== 'none') {
      const readable = { ...common, host: this.host }
      listeners.plain = new Listener({ ...readable, port })
      if (webSocketPort !== undefined) {
        listeners.webSocket = new Listener({ ...readable, port: webSocketPort, webSocket })
      }
    }
    if (tls && material) {
      const secure = { ...common, host: tls.host, tls: { material, clientCertificates: tls.clientCertificates } }
      listeners.tls = new Listener({ ...secure, port: tls.port })
      if (tls.webSocketPort !== undefined) {
        listeners.tlsWebSocket = new Listener({ ...secure, port: tls.webSocketPort, webSocket })
      }
    }
    return listeners
  }

  private admit(socket: Socket): boolean {
    const refusal = this.connectionLimits.admit(socket)
    if (refusal === undefined) return true
    this.counts.limited.connections++
    // Not each of a flood.
    if (this.counts.limited.connections % 100 === 1) {
      this.options.logger.warn({ address: socket.remoteAddress, reason: refusal }, 'connection not accepted')
    }
    return false
  }

  private accept(engine: Engine, { connection, request }: Accepted): void {
    this.connections.add(connection)
    connection.once('close', () => this.connections.delete(connection))
    controlInlet(connection, {
      packetBytes: this.limits.packetBytes,
      connectBytes: this.limits.connectBytes,
      rate: new RateLimit(this.limits),
      oversized: () => this.counts.limited['packet-size']++,
      heldBack: () => this.counts.heldBack++,
      tooFast: () => this.counts.limited.rate++,
    })
    engine.accept(connection, request)
  }
}

/** Throws `CONFIG_INVALID` for a transport that would give secrets away, or that nobody could use. */
function checkTransport({ host = '127.0.0.1', plain = 'loopback', tls }: BrokerOptions): void {
  const refuse = (problem: string) => {
    throw new FaultlineError('CONFIG_INVALID', problem)
  }
  if (plain === 'loopback' && !isLoopback(host)) {
    refuse(`host: MQTT without TLS listens on loopback, not on ${host}; use tls, or say plain: anywhere`)
  }
  if (plain === 'none' && !tls) refuse('plain: none leaves no way to connect; give tls')
  if (tls && tls.clientCertificates !== 'none' && tls.ca === undefined) {
    refuse('tls.ca: the authority that signs the certificates of clients')
  }
}
