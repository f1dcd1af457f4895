import { isIPv4, isIPv6, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { FaultlineError, maxPayloadBytes, type RegistryReader } from '@faultline/protocol'
import type { Logger, Service } from '@faultline/runtime'
import { Aedes, type AedesPublishPacket, type Client, type PublishPacket } from 'aedes'
import { Authentication, Refusal } from './authentication.ts'
import { mayPublish, maySubscribe } from './authorisation.ts'
import { type BrokerCounts, noCounts } from './counts.ts'
import { type Accepted, Listener, type ListenerOptions } from './listeners.ts'
import { capPackets } from './packet-cap.ts'
import { Revocations } from './revocations.ts'
import { type Persistence, SessionQueues } from './session-queues.ts'
import { readFilter, SharedSubscriptions } from './shared-subscriptions.ts'
import { SystemTopics } from './system-topics.ts'
import { type TlsFiles, TlsMaterial } from './tls-material.ts'

export interface BrokerLimits {
  /** Remaining length of a packet: topic and payload. */
  packetBytes: number
  topicLevels: number
  /** Failed logins that one address may have in a minute, and at once. */
  failedLogins: number
  /** How long a connection may take to send CONNECT, in ms. */
  connectTimeoutMs: number
  /** How long a client may leave its full buffer unread before it is disconnected, in ms. */
  drainTimeoutMs: number
  /** Messages that a stored session may have waiting, and bytes of their topics and payloads; the oldest go first. */
  queuedMessages: number
  queuedBytes: number
  /** How long a stored session outlives its connection, in ms. */
  absentSessionMs: number
}

/** The largest payload of the contract, and room for the longest topic MQTT knows. */
export const defaultLimits: BrokerLimits = {
  packetBytes: maxPayloadBytes + 65_536 + 4,
  topicLevels: 20,
  failedLogins: 30,
  connectTimeoutMs: 10_000,
  drainTimeoutMs: 30_000,
  queuedMessages: 10_000,
  queuedBytes: 67_108_864,
  absentSessionMs: 86_400_000,
}

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
  limits?: Partial<BrokerLimits>
  logger: Logger
}

interface Running {
  aedes: Aedes
  listeners: { plain?: Listener; webSocket?: Listener; tls?: Listener; tlsWebSocket?: Listener }
  material: TlsMaterial | undefined
  queues: SessionQueues
  revocations: Revocations
  systemTopics: SystemTopics
}

/**
 * An MQTT 3.1.1 broker in which every client is an enrolled identity with the rights of its role. Sessions, retained
 * and queued messages live in memory: they end with the broker.
 */
export class Broker implements Service {
  readonly counts: BrokerCounts = noCounts()
  private readonly options: BrokerOptions
  private readonly limits: BrokerLimits
  private readonly host: string
  private readonly connections = new Set<Duplex>()
  private running: Running | undefined

  constructor(options: BrokerOptions) {
    this.options = options
    this.limits = { ...defaultLimits, ...options.limits }
    this.host = options.host ?? '127.0.0.1'
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

  /** Throws `ADDRESS_IN_USE`, `CONFIG_INVALID` and `CERTIFICATE_INVALID`. */
  async start(): Promise<void> {
    const { logger, tls, plain = 'loopback' } = this.options
    checkTransport(this.options)
    const material = tls && new TlsMaterial(tls, logger)
    material?.start()
    const { aedes, queues, revocations } = await this.createAedes()
    const listeners = this.createListeners(aedes, material)
    const systemTopics = new SystemTopics(this.counts)
    this.running = { aedes, listeners, material, queues, revocations, systemTopics }
    try {
      for (const listener of Object.values(listeners)) await listener.start()
    } catch (error) {
      await this.stop()
      throw error
    }
    queues.start()
    revocations.start()
    this.running.systemTopics.start(aedes)
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
    running.revocations.stop()
    running.queues.stop()
    for (const listener of Object.values(running.listeners)) await listener.stop()
    running.material?.stop()
    await new Promise<void>(resolve => running.aedes.close(resolve))
    // Aedes ends those that have logged in; the others may be half open.
    for (const connection of this.connections) connection.destroy()
    this.options.logger.info(this.counts, 'broker stopped')
  }

  private createListeners(aedes: Aedes, material: TlsMaterial | undefined): Running['listeners'] {
    const { port, webSocketPort, tls, plain, logger } = this.options
    const { packetBytes, connectTimeoutMs: handshakeTimeoutMs } = this.limits
    const common: Omit<ListenerOptions, 'host' | 'port'> = {
      handshakeTimeoutMs,
      admit: () => undefined,
      accept: accepted => this.accept(aedes, accepted),
      failed: (socket, reason) => this.handshakeFailed(socket, reason),
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

  private handshakeFailed(socket: Socket, reason: string): void {
    this.counts.failedHandshakes++
    this.options.logger.warn({ address: socket.remoteAddress, reason }, 'connection not accepted')
  }

  private accept(aedes: Aedes, { connection, request }: Accepted): void {
    this.connections.add(connection)
    connection.once('close', () => this.connections.delete(connection))
    capPackets(connection, this.limits.packetBytes, () => {
      this.counts.oversizedPackets++
    })
    aedes.handle(connection, request)
  }

  private async createAedes(): Promise<Pick<Running, 'aedes' | 'queues' | 'revocations'>> {
    const { counts, limits } = this
    const { registry, logger } = this.options
    const authentication = new Authentication({ registry, logger, counts, failedLogins: limits.failedLogins })
    const allowed = (client: Client, filter: string): boolean => {
      const identity = authentication.identityOf(client)
      return identity !== undefined && maySubscribe(identity, filter)
    }
    const aedes = await Aedes.createBroker({
      connectTimeout: limits.connectTimeoutMs,
      drainTimeout: limits.drainTimeoutMs,
      maxTopicLevels: limits.topicLevels,
      // MQTT 3.1 asks for no more than 23 characters; identities are longer.
      maxClientsIdLength: 65_535,
      preConnect: (client, packet, done) => {
        authentication.connecting(client, packet)
        done(null, true)
      },
      authenticate: (client, name, secret, done) => {
        authentication.login(client, name, secret).then(
          () => done(null, true),
          thrown => done(thrown instanceof Refusal ? thrown : new Refusal(3, String(thrown)), false),
        )
      },
      authorizePublish: (client, packet, done) => done(this.refusePublish(client, packet, authentication)),
      authorizeSubscribe: (client, subscription, done) => {
        const { topic, qos } = subscription
        if (!allowed(client, topic)) {
          counts.refusedSubscriptions++
          const user = authentication.identityOf(client)?.name
          logger.warn({ user, filter: topic.slice(0, 200) }, 'subscription refused')
          return done(null, null) // SUBACK 0x80 (MQTT 3.1.1, 3.9.3)
        }
        // Also on the way of a stored session's subscriptions, so that its return makes the client a member again.
        if (readFilter(topic)?.group !== undefined) shared.add(client, topic, qos)
        done(null, subscription)
      },
      // Nothing to decide: nobody has a subscription, stored or not, that goes beyond its rights.
      authorizeForward: (_, packet): AedesPublishPacket => {
        counts.sent++
        return packet
      },
    })
    const shared = new SharedSubscriptions(aedes)
    const { persistence } = aedes as Aedes & { persistence: Persistence }
    const isConnected = (clientId: string) => authentication.isConnected(clientId)
    const queues = new SessionQueues(persistence, { limits, isConnected, maySubscribe: allowed, counts, logger })
    aedes.on('unsubscribe', (filters, client) => {
      for (const filter of filters) shared.remove(client, filter)
    })
    aedes.on('clientError', (client, error) => this.logBreak(client, error))
    aedes.on('connectionError', (client, error) => this.logBreak(client, error))
    // Without a listener a failure inside Aedes would end the process.
    aedes.addListener('error', (error: Error) => logger.error({ error: error.message }, 'broker failure'))
    const revocations = new Revocations({
      registry,
      logger,
      changed: () => {
        for (const client of authentication.revoked()) this.revoke(client)
        queues.endRevoked(name => registry.credential(name) === undefined)
      },
    })
    return { aedes, queues, revocations }
  }

  /** Ends the connection of a client that would not be let in any more. */
  private revoke(client: Client): void {
    this.counts.revokedConnections++
    this.options.logger.warn({ clientId: client.id }, 'its identity was revoked: connection ended')
    client.conn.destroy()
  }

  /**
   * Why a client may not publish, or null. MQTT 3.1.1, 3.3.5-2: a server cannot say so; it acknowledges and drops the
   * message, or closes the connection. Closing is noticed, so that is what Aedes is told to do.
   */
  private refusePublish(client: Client | null, packet: PublishPacket, authentication: Authentication): Error | null {
    const identity = client ? authentication.identityOf(client) : undefined
    if (identity && mayPublish(identity, packet.topic)) {
      this.counts.received++
      return null
    }
    this.counts.refusedPublishes++
    return new Error(`may not publish to ${packet.topic.slice(0, 200)}`)
  }

  private logBreak(client: Client, error: Error): void {
    const code = (error as NodeJS.ErrnoException).code
    const level = code === 'ECONNRESET' || code === 'EPIPE' ? 'debug' : 'warn'
    const coded = error instanceof FaultlineError && { code: error.code }
    this.options.logger[level](
      { ...coded, clientId: client.id?.slice(0, 200), error: error.message },
      'connection broken',
    )
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

const isLoopback = (host: string): boolean =>
  host === 'localhost' || (isIPv4(host) && host.startsWith('127.')) || (isIPv6(host) && host === '::1')
