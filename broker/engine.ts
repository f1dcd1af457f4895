import type { IncomingMessage } from 'node:http'
import { type Duplex, Readable } from 'node:stream'
import { FaultlineError, type Identity, parseTopic, type RegistryReader, type TopicKind } from '@faultline/protocol'
import { databaseFailure, type Logger } from '@faultline/runtime'
import { Aedes, type AedesPublishPacket, type Client, type PublishPacket } from 'aedes'
import { Authentication, Refusal } from './authentication.ts'
import { mayPublish, maySubscribe } from './authorisation.ts'
import { ClusterNode } from './cluster/node.ts'
import { Collector } from './collector.ts'
import type { BrokerCounts } from './counts.ts'
import { Delivery, type DeliveryOptions, deliveryOf, retainedOriginOf } from './delivery.ts'
import { DropLog } from './drop-log.ts'
import { IncomingExchanges } from './incoming-exchanges.ts'
import type { BrokerLimits } from './limits.ts'
import { OwedWills } from './owed-wills.ts'
import { PacketRules } from './packet-rules.ts'
import type { BrokerPersistence, Done, PersistenceOptions } from './persistence/persistence.ts'
import { SqlitePersistence } from './persistence/sqlite.ts'
import { Revocations } from './revocations.ts'
import type { MemberClient } from './shared-group.ts'
import { isGroup, readFilter, SharedSubscriptions, type Shares } from './shared-subscriptions.ts'
import { StoreHealth } from './store-health.ts'
import { isInternal, ownerOf, StoredSessions } from './stored-sessions.ts'

export interface EngineOptions {
  registry: RegistryReader
  limits: BrokerLimits
  /** File of the sessions and messages, or `:memory:`. */
  store: string
  /** URL of a Redis that several brokers share in place of a store. */
  redis?: string | undefined
  counts: BrokerCounts
  logger: Logger
}

/** A client as Aedes has it. */
type WillingClient = Client & { will?: PublishPacket }

/** How long ending the clients may wait for answers of Redis. */
const maxStopMs = 5_000
/** Connections that end themselves, and what has a line of its own: once for all connections that end for it. */
const quietCodes = ['ECONNRESET', 'EPIPE', 'DATABASE_FAILED', 'REDIS_UNREACHABLE']
/** How many a client has; a server agent answers many devices. */
const rememberedTopics = 200

/** Aedes, made into a broker of identities with rights, limits and a memory. */
export class Engine {
  readonly aedes: Aedes
  readonly persistence: BrokerPersistence
  readonly sessions: StoredSessions
  /** For what a broker keeps on behalf of no client. */
  readonly collector: Collector
  private readonly options: EngineOptions
  private readonly drops: DropLog
  private readonly authentication: Authentication
  private readonly shared: Shares
  private readonly rules: PacketRules
  private readonly delivery: DeliveryOptions
  private readonly incoming: IncomingExchanges
  private readonly node: ClusterNode | undefined
  /** Undefined in a cluster. */
  private readonly store: StoreHealth | undefined
  private readonly revocations: Revocations
  private readonly wills: OwedWills
  /** The filters a client was granted, those it restored included. */
  private readonly granted = new WeakMap<Pick<Client, 'id'>, Set<string>>()
  /** Topics a client has published to, so that its rights are looked up once for each. They last as long as its login. */
  private readonly publishable = new WeakMap<Client, Map<string, TopicKind>>()

  constructor(options: EngineOptions) {
    this.options = options
    const { registry, limits, counts, logger } = options
    this.drops = new DropLog({ counts, logger })
    this.authentication = new Authentication({ registry, logger, counts, failedLogins: limits.failedLogins })
    const persistence: PersistenceOptions = {
      limits,
      isGranted: (client, filter) => isInternal(client.id) || (this.granted.get(client)?.has(filter) ?? false),
      dropped: (session, reason, messages) => this.drops.add(session, reason, messages),
    }
    const dropped = this.drops.add.bind(this.drops)
    if (options.redis !== undefined) {
      const lost = () => this.endAll()
      const failed = () => counts.redisErrors++
      this.node = new ClusterNode({ url: options.redis, limits, persistence, dropped, failed, lost, logger })
      this.persistence = this.node.persistence
      this.aedes = this.createAedes()
      this.shared = this.node.join(this.aedes)
    } else {
      const alone = new SqlitePersistence({ path: options.store, ...persistence })
      this.store = new StoreHealth({ store: alone, counts, logger })
      const unreadable = (error: Error) => alone.emit('failed', error)
      alone.on('writable', () => {
        this.wills.publish().catch(unreadable)
      })
      this.persistence = alone
      this.aedes = this.createAedes()
      this.shared = new SharedSubscriptions({ aedes: this.aedes, persistence: alone, limits, dropped, unreadable })
    }
    this.collector = new Collector(this)
    this.sessions = new StoredSessions({
      absentMs: limits.absentSessionMs,
      persistence: this.persistence,
      connected: () => this.node?.connected() ?? { has: id => this.authentication.isConnected(id) },
      ended: () => counts.expiredSessions++,
      logger,
    })
    this.delivery = this.takeDelivery()
    this.keepWills()
    this.wills = this.oweWills()
    this.withholdPubcomp()
    this.incoming = new IncomingExchanges(this.persistence)
    this.rules = new PacketRules(this.aedes, (client, level) => this.authentication.refuseVersion(client, level))
    this.revocations = new Revocations({ registry, logger, changed: () => this.applyRevocations() })
  }

  /** Why it cannot store messages or reach the other brokers now; undefined while it can. */
  get trouble(): string | undefined {
    return this.node ? this.node.trouble : this.store?.trouble
  }

  /** Throws `DATABASE_FAILED`, `REDIS_UNREACHABLE`. */
  async start(): Promise<void> {
    await this.persistence.open()
    await this.aedes.listen()
    await this.node?.start()
    this.shared.start()
    this.sessions.start()
    this.revocations.start()
  }

  /** Takes a connection that may speak MQTT now. */
  accept(connection: Duplex, request?: IncomingMessage): void {
    this.rules.apply(this.aedes.handle(connection, request as IncomingMessage))
  }

  /** Publishes at QoS 1, as no client; resolves when the message is stored and on its way. */
  async publish(topic: string, payload: Buffer): Promise<void> {
    await this.publishStored({ cmd: 'publish', topic, payload, qos: 1, retain: false, dup: false })
  }

  private async publishStored(packet: PublishPacket): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: Error | null) => (error ? reject(error) : resolve())
      // As for a client, which gets its PUBACK only once it is stored.
      this.persistence.store(packet as AedesPublishPacket, error => {
        if (error) reject(error)
        else this.aedes.publish(packet, settle)
      })
    })
  }

  /** Ends the connections of those who have logged in, publishing their wills, and closes the store. */
  async stop(): Promise<void> {
    this.revocations.stop()
    this.sessions.stop()
    const timer = setTimeout(() => this.node?.abandonRedis(), maxStopMs)
    await new Promise<void>(resolve => this.aedes.close(resolve))
    // The wills of those who were connected are on their way into the store.
    await new Promise(setImmediate)
    this.shared.stop()
    await this.node?.stop()
    clearTimeout(timer)
    await this.persistence.destroy()
  }

  private createAedes(): Aedes {
    const { limits, logger } = this.options
    const aedes = new Aedes({
      connectTimeout: limits.connectTimeoutMs,
      drainTimeout: limits.drainTimeoutMs,
      maxTopicLevels: limits.topicLevels,
      // MQTT 3.1 asks for no more than 23 characters; identities are longer.
      maxClientsIdLength: 65_535,
      persistence: this.persistence,
      ...(this.node && { mq: this.node.emitter }),
      preConnect: (client, packet, done) => {
        // MQTT 3.1.1, 3.1.2.10: a server may end a connection that it thinks dead, whatever was agreed. A client that asks
        // for no keep-alive, or a very long one, is thought dead after this one.
        if (packet.protocolVersion === 5) this.authentication.refuseVersion(client, 5, packet)
        packet.keepalive = Math.min(packet.keepalive || limits.keepAliveS, limits.keepAliveS)
        this.authentication.connecting(client, packet)
        new Delivery(client, this.delivery)
        done(null, true)
      },
      authenticate: (client, name, secret, done) => {
        this.login(client, name, secret).then(
          () => done(null, true),
          thrown => done(thrown instanceof Refusal ? thrown : new Refusal(3, String(thrown)), false),
        )
      },
      authorizePublish: (client, packet, done) => this.takePublish(client, packet, done),
      authorizeSubscribe: (client, subscription, done) => {
        const { topic, qos } = subscription
        if (!this.grant(client, topic)) return done(null, null) // SUBACK 0x80 (MQTT 3.1.1, 3.9.3)
        // Also on the way of a stored session's subscriptions, so that its return makes the client a member again.
        if (readFilter(topic)?.group === undefined) return done(null, subscription)
        this.shared.add(client, topic, qos).then(
          () => done(null, subscription),
          thrown => {
            this.granted.get(client)?.delete(topic)
            // SUBACK 0x80, or no return of a stored session that would not be a member.
            if ((client as MemberClient).connackSent) done(null, null)
            else done(thrown, null)
          },
        )
      },
    })
    aedes.on('clientReady', client => {
      deliveryOf(client)?.start()
      this.shared.ready(client)
    })
    aedes.on('subscribe', (subscriptions, client) => {
      // Refused ones have 0x80 there; a shared one brings nothing that is retained.
      const filters = subscriptions.filter(({ qos, topic }) => qos <= 2 && !isGroup(topic)).map(({ topic }) => topic)
      const sent = filters.length > 0 ? deliveryOf(client)?.subscribed(filters) : undefined
      sent?.catch(error => client.conn.destroy(error)) // It subscribes again when it returns.
    })
    aedes.on('unsubscribe', (filters, client) => {
      // Aedes says so of a clean session's end too; a member whose connection ended did not ask to leave its groups.
      if (client.closed) return
      for (const filter of filters) {
        this.granted.get(client)?.delete(filter)
        this.shared.remove(client, filter)
      }
    })
    aedes.on('clientError', (client, error) => this.logBreak(client, error))
    aedes.on('connectionError', (client, error) => this.logBreak(client, error))
    // Without a listener a failure inside Aedes would end the process.
    aedes.addListener('error', (error: Error) => logger.error({ error: error.message }, 'broker failure'))
    return aedes
  }

  private async login(client: Client, name: string | undefined, secret: Buffer | undefined): Promise<void> {
    const identity = await this.authentication.login(client, name, secret)
    const { limits, counts, logger } = this.options
    // What it needs of Redis might never be answered; another broker of the cluster may take it.
    const trouble = this.node?.trouble
    if (trouble !== undefined) throw new Refusal(3, trouble, 'REDIS_UNREACHABLE')
    if (!client.clean && (await this.sessions.countOf(identity.name, client.id)) >= limits.sessionsPerIdentity) {
      counts.limited.sessions++
      logger.warn({ user: identity.name, clientId: client.id }, 'login refused: too many stored sessions')
      throw new Refusal(3, 'too many stored sessions')
    }
    const ended = await this.node?.takeClientId(client, identity.name)
    if (ended) this.authentication.tookOver(client, identity.name, ended.address)
  }

  /** Whether a client may have a subscription, which is counted as its own then. */
  private grant(client: Client, filter: string): boolean {
    const { limits, counts, logger } = this.options
    const identity = this.authentication.identityOf(client)
    let granted = this.granted.get(client)
    if (!granted) {
      granted = new Set()
      this.granted.set(client, granted)
    }
    const refuse = (reason: string) => {
      counts.refusedSubscriptions++
      logger.warn({ user: identity?.name, filter: filter.slice(0, 200), reason }, 'subscription refused')
      return false
    }
    if (!identity || !maySubscribe(identity, filter)) return refuse('no right to it')
    // That of a stored session has to be stored, before it is acknowledged; those that return with it are.
    if (this.store?.trouble !== undefined && !client.clean && (client as MemberClient).connackSent) {
      return refuse('the store refuses changes')
    }
    if (!granted.has(filter) && granted.size >= limits.subscriptionsPerClient) {
      counts.limited.subscriptions++
      return refuse('too many subscriptions')
    }
    granted.add(filter)
    return true
  }

  /**
   * Takes a message, or says why not. MQTT 3.1.1, 3.3.5-2: a server cannot tell a client so; it acknowledges and drops the
   * message, or closes the connection. Closing is noticed, so that is what Aedes is told to do.
   *
   * Aedes acknowledges QoS 1 before it stores anything, so what is acknowledged could be lost. Here it is stored first.
   */
  private takePublish(client: Client | null, packet: PublishPacket, done: (error: Error | null) => void): void {
    const { counts } = this.options
    const kind = client
      ? this.publishableKind(client, packet.topic)
      : this.kindOf(this.absentAuthor(packet), packet.topic)
    if (kind === undefined) {
      counts.refusedPublishes++
      done(new Error(`may not publish to ${packet.topic.slice(0, 200)}`))
      return
    }
    packet.dup = false // It says how often this publisher sent it, which is no business of others (MQTT 3.1.1, 3.3.1-3).
    counts.received++
    counts.receivedBytes += sizeOf(packet)
    counts.receivedByKind[kind] = (counts.receivedByKind[kind] ?? 0) + 1
    if (packet.qos > 0 && (!client || packet === (client as WillingClient).will)) this.takeWill(client, packet, done)
    else if (packet.qos === 1) this.persistence.store(packet as AedesPublishPacket, done)
    else if (packet.qos === 2 && client) this.incoming.enter(client, packet.messageId!, () => done(null))
    else {
      if (packet.qos === 0) this.shared.pass?.(packet as AedesPublishPacket).catch(() => {})
      done(null)
    }
  }

  /** A will has no client that sends it again: one that the store refuses is owed. */
  private takeWill(client: Client | null, will: PublishPacket, done: Done): void {
    this.persistence.store(will as AedesPublishPacket, error => {
      // That of a broker which was killed stays in the store until it is published.
      if (error && client) this.wills.add(client.id, will, error)
      done(error)
    })
  }

  /** As `kindOf`, and remembered: a client says something on the same few topics for as long as it is connected. */
  private publishableKind(client: Client, topic: string): TopicKind | undefined {
    let kinds = this.publishable.get(client)
    if (!kinds) {
      kinds = new Map()
      this.publishable.set(client, kinds)
    }
    const known = kinds.get(topic)
    if (known !== undefined) return known
    const kind = this.kindOf(this.authentication.identityOf(client), topic)
    if (kind === undefined) return undefined
    if (kinds.size >= rememberedTopics) kinds.clear()
    kinds.set(topic, kind)
    return kind
  }

  /** The kind of a topic; undefined when an identity may not publish to it. */
  private kindOf(identity: Identity | undefined, topic: string): TopicKind | undefined {
    return identity && mayPublish(identity, topic) ? parseTopic(topic)!.kind : undefined
  }

  /** Whose will it is that a broker which was killed has left behind. */
  private absentAuthor(will: PublishPacket & { clientId?: string }): Identity | undefined {
    const name = will.clientId === undefined ? undefined : ownerOf(will.clientId)
    return name === undefined ? undefined : this.options.registry.credential(name)?.identity
  }

  /**
   * Takes it from Aedes to send what is queued and retained, and hears of acknowledgements, which may be for a message of a
   * group and in no queue of the client's own. No client has a subscription, stored or not, beyond its rights, so
   * nothing is left to decide when a message is sent.
   */
  private takeDelivery(): DeliveryOptions {
    const { persistence, shared, aedes } = this
    const { limits, counts } = this.options
    const queue = {
      outgoingEnqueue: persistence.outgoingEnqueue.bind(persistence),
      outgoingUpdate: persistence.outgoingUpdate.bind(persistence),
      outgoingClearMessageId: persistence.outgoingClearMessageId.bind(persistence),
      outgoingStream: persistence.outgoingStream.bind(persistence),
    }
    const retained = persistence.createRetainedStreamCombi.bind(persistence)
    // For Aedes; what is no client reads its queue itself.
    persistence.outgoingStream = client => (deliveryOf(client) ? Readable.from([]) : queue.outgoingStream(client))
    persistence.createRetainedStreamCombi = () => Readable.from([])
    persistence.outgoingClearMessageId = async (client, packet) => {
      if (packet.messageId !== undefined) deliveryOf(client)?.acknowledged(packet.messageId)
      return shared.acknowledge(client as Client, packet.messageId)
        ? undefined
        : queue.outgoingClearMessageId(client, packet)
    }
    persistence.outgoingUpdate = async (client, packet) => {
      if (packet.cmd === 'pubrel') deliveryOf(client)?.received(packet.messageId)
      await queue.outgoingUpdate(client, packet)
    }
    let copies = 0
    return {
      outboundBytes: limits.outboundBytes,
      queue,
      retained,
      stamp: () => ({ brokerId: retainedOriginOf(aedes.id), brokerCounter: ++copies }),
      sent: packet => {
        counts.sent++
        counts.sentBytes += sizeOf(packet)
      },
      dropped: ({ id }) => this.drops.add(id, 'slow-consumer', 1),
      tooSlow: () => counts.limited['slow-consumer']++,
    }
  }

  /**
   * Aedes publishes the wills of brokers that it has not heard of for three minutes by the wall clock: after a jump of
   * that clock, those of clients that are connected.
   */
  private keepWills(): void {
    const { persistence, node, aedes } = this
    const streamWill = persistence.streamWill.bind(persistence)
    persistence.streamWill = (alive = {}) => {
      const living = [aedes.id, ...(node?.brokers ?? [])].map(id => [id, true])
      return streamWill({ ...alive, ...Object.fromEntries(living) })
    }
  }

  /** In a cluster a client may be at another broker by the time, and its will be older than what it has published there. */
  private oweWills(): OwedWills {
    const wills = new OwedWills({
      persistence: this.persistence,
      publish: will => this.publishStored(will),
      dropped: id => this.drops.add(id, 'store-refused', 1),
      mayPass: error => this.node === undefined && databaseFailure(error) !== 'other',
    })
    return wills
  }

  /** A release that cannot be stored is not acknowledged: Aedes would, so the connection ends. */
  private withholdPubcomp(): void {
    const { persistence } = this
    const release = persistence.incomingDelPacket.bind(persistence)
    persistence.incomingDelPacket = (client, packet) =>
      release(client, packet).catch(thrown => {
        ;(client as Client).conn.destroy()
        throw thrown
      })
  }

  private applyRevocations(): void {
    const { registry, counts, logger } = this.options
    for (const client of this.authentication.revoked()) {
      counts.revokedConnections++
      logger.warn({ clientId: client.id }, 'its identity was revoked: connection ended')
      client.conn.destroy()
    }
    this.sessions
      .endRevoked(name => registry.credential(name) === undefined)
      .catch(error => logger.error({ error: error.message }, 'stored sessions of revoked identities remain'))
  }

  /** Has every client come back, for what it may have missed. */
  private endAll(): void {
    const clients = Object.values(this.clients)
    if (clients.length > 0) {
      this.options.logger.warn({ clients: clients.length }, 'the cluster was out of reach: connections ended')
    }
    for (const client of clients) client.conn.destroy()
    this.collector.emit('missed')
  }

  /** The clients of Aedes, which its types leave out. */
  private get clients(): Record<string, Client> {
    return (this.aedes as unknown as { clients: Record<string, Client> }).clients
  }

  private logBreak(client: Client, error: Error): void {
    if ((error as { errorCode?: number }).errorCode === 1) return // Another version of MQTT: it is logged with its name.
    const { code = '' } = error as NodeJS.ErrnoException
    const level = quietCodes.includes(code) ? 'debug' : 'warn'
    const coded = error instanceof FaultlineError && { code: error.code }
    this.options.logger[level](
      { ...coded, clientId: client.id?.slice(0, 200), error: error.message },
      'connection broken',
    )
  }
}

const sizeOf = ({ topic, payload }: { topic: string; payload: string | Buffer }): number =>
  topic.length + (payload?.length ?? 0)
