import type { IncomingMessage } from 'node:http'
import { isIPv4, isIPv6 } from 'node:net'
import type { Duplex } from 'node:stream'
import { FaultlineError, maxPayloadBytes, type RegistryReader } from '@faultline/protocol'
import type { Logger, Service } from '@faultline/runtime'
import { Aedes, type AedesPublishPacket, type Client, type PublishPacket } from 'aedes'
import { Authentication, Refusal } from './authentication.ts'
import { mayPublish, maySubscribe } from './authorisation.ts'
import { type BrokerCounts, noCounts } from './counts.ts'
import { type Listener, TcpListener, WebSocketListener } from './listeners.ts'
import { capPackets } from './packet-cap.ts'
import { type Persistence, SessionQueues } from './session-queues.ts'
import { readFilter, SharedSubscriptions } from './shared-subscriptions.ts'
import { SystemTopics } from './system-topics.ts'

export interface BrokerLimits {
  /** Remaining length of a packet: topic and payload. */
  packetBytes: number
  topicLevels: number
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
  connectTimeoutMs: 10_000,
  drainTimeoutMs: 30_000,
  queuedMessages: 10_000,
  queuedBytes: 67_108_864,
  absentSessionMs: 86_400_000,
}

export interface BrokerOptions {
  /** Loopback when absent. */
  host?: string
  /** MQTT over TCP; 0 takes any free port. */
  port: number
  /** MQTT over WebSocket; none when absent, any free port when 0. */
  webSocketPort?: number
  registry: RegistryReader
  limits?: Partial<BrokerLimits>
  logger: Logger
}

interface Running {
  aedes: Aedes
  listeners: Listener[]
  queues: SessionQueues
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
    return this.running?.listeners[0]?.port ?? 0
  }

  /** The port of MQTT over WebSocket; 0 while stopped or when there is none. */
  get webSocketPort(): number {
    return this.running?.listeners[1]?.port ?? 0
  }

  /** Throws `ADDRESS_IN_USE`. */
  async start(): Promise<void> {
    const { port, webSocketPort, logger } = this.options
    const { aedes, queues } = await this.createAedes()
    const accept = (connection: Duplex, request?: IncomingMessage) => this.accept(aedes, connection, request)
    const { host } = this
    const listeners: Listener[] = [new TcpListener({ host, port, accept, logger })]
    if (webSocketPort !== undefined) {
      // A frame of several packets is legal, but no client of ours sends one longer than its longest packet.
      const longest = this.limits.packetBytes + 5
      listeners.push(new WebSocketListener({ host, port: webSocketPort, accept, logger }, longest))
    }
    this.running = { aedes, listeners, queues, systemTopics: new SystemTopics(this.counts) }
    try {
      for (const listener of listeners) await listener.start()
    } catch (error) {
      await this.stop()
      throw error
    }
    queues.start()
    this.running.systemTopics.start(aedes)
    logger.info({ host, port: this.port, webSocketPort: this.webSocketPort }, 'broker listens')
    if (!isLoopback(host)) logger.warn({ host }, 'no TLS: secrets and data cross this network readable')
  }

  /** Takes no more connections, then ends those there are. */
  async stop(): Promise<void> {
    const running = this.running
    if (!running) return
    this.running = undefined
    running.systemTopics.stop()
    running.queues.stop()
    for (const listener of running.listeners) await listener.stop()
    await new Promise<void>(resolve => running.aedes.close(resolve))
    // Aedes ends those that have logged in; the others may be half open.
    for (const connection of this.connections) connection.destroy()
    this.options.logger.info(this.counts, 'broker stopped')
  }

  private accept(aedes: Aedes, connection: Duplex, request?: IncomingMessage): void {
    this.connections.add(connection)
    connection.once('close', () => this.connections.delete(connection))
    capPackets(connection, this.limits.packetBytes, () => {
      this.counts.oversizedPackets++
    })
    aedes.handle(connection, request)
  }

  private async createAedes(): Promise<{ aedes: Aedes; queues: SessionQueues }> {
    const { counts, limits } = this
    const { registry, logger } = this.options
    const authentication = new Authentication({ registry, logger, counts })
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
    return { aedes, queues }
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

const isLoopback = (host: string): boolean =>
  host === 'localhost' || (isIPv4(host) && host.startsWith('127.')) || (isIPv6(host) && host === '::1')
