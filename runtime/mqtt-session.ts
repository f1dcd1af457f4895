import { EventEmitter, once } from 'node:events'
import { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import {
  decodeMessage,
  delivery,
  encodePayload,
  FaultlineError,
  type Identity,
  type Message,
  type Payload,
  parseTopic,
  type TopicAddress,
  type TopicKind,
  toFaultlineError,
  topicOf,
} from '@faultline/protocol'
import mqtt, { ErrorWithSubackPacket, type IClientOptions, type MqttClient } from 'mqtt'
import { type BrokerAccess, defaultKeepAliveS, readTlsFiles } from './broker-access.ts'
import { Contention } from './contention.ts'
import { Enrolment } from './enrolment.ts'
import type { Logger } from './logger.ts'
import { MessageOrder } from './message-order.ts'
import type { Service } from './service.ts'

export interface MqttSessionOptions extends BrokerAccess {
  identity: Identity
  /** The identity's name when absent, as devices and servers must have it. */
  clientId?: string
  /** True (the default) forgets subscriptions and queued messages when the connection ends. */
  clean?: boolean
  /** Published by the broker when the connection breaks without a goodbye. */
  will?: { address: TopicAddress; payload: Buffer }
  /** Topic filters, `$share/…` included; subscribed again after every reconnect. */
  subscriptions: readonly string[]
  /**
   * Called for each valid message, which is acknowledged (QoS 1) when it has returned; refused ones, and those it throws on,
   * are logged and emitted as `refused`, and acknowledged: a second delivery would end the same. A `HeldMessage` is not. A
   * retained message that something newer has overtaken is passed over.
   */
  onMessage?: (message: Message) => void | Promise<void>
  /**
   * Acknowledges a message, and takes the next, only once the promise of `onMessage` has resolved. One that rejects with a
   * `HeldMessage`, or has not resolved after `maxHandlingMs` (30 s if omitted), ends the connection, so that the broker sends
   * the message again to a stored session.
   */
  awaitsHandling?: boolean
  maxHandlingMs?: number
  logger: Logger
  /** First and longest pause between connection attempts, in ms. */
  backOff?: { initialMs: number; maximumMs: number }
}

/**
 * Thrown by `onMessage` for a message that it cannot keep now. The message is not acknowledged, so that the broker keeps it
 * for a stored session, and nothing more is taken: the session is to be stopped, and started when there is room again.
 */
export class HeldMessage extends Error {
  constructor(cause: FaultlineError) {
    super(cause.message, { cause })
    this.name = 'HeldMessage'
  }
}

interface SessionEvents {
  /** Connected and subscribed. */
  online: []
  offline: []
  /** A retained message was cleared: an empty payload on a retained topic of the contract. */
  cleared: [address: TopicAddress]
  /** A payload that is not of the contract, or a message that `onMessage` failed on. */
  refused: [error: FaultlineError, topic: string, payload: Buffer]
  /**
   * Why it is not online: `BROKER_UNREACHABLE`, `CREDENTIALS_REFUSED` for a log-in or a subscription, or `IDENTITY_CONTESTED`
   * where another client uses the identity.
   */
  problem: [error: FaultlineError]
}

/** How long `stop` waits for acknowledgements, and then for the broker to close its end, in ms. */
const goodbye = { acknowledgements: 2_000, close: 1_000 }

const defaultHandlingMs = 30_000

const usualBackOff = { initialMs: 500, maximumMs: 30_000 }

/**
 * While another client uses the identity pauses grow ten times as long: two that returned at once would end each other's
 * connections for ever. A connection that outlasts two such pauses shows that the other client is gone.
 */
const contested = { pause: 10, calm: 20 }

/** MQTT 3.1.1, 3.14. MQTT.js sends it only when it means to stay away. */
const disconnectPacket = Buffer.from([0xe0, 0x00])

/**
 * A connection to the broker that outlives breaks: reconnects with exponential back-off and jitter (so that a
 * fleet does not return in step), subscribes again, speaks in typed messages, and never throws out of a subscriber.
 */
export class MqttSession extends EventEmitter<SessionEvents> implements Service {
  /** Topic and payload bytes of published and received messages. */
  readonly bytes = { sent: 0, received: 0 }
  private unknown = 0
  private readonly options: MqttSessionOptions
  private client: MqttClient | undefined
  private isOnline = false
  private attempts = 0
  private readonly inFlight = new Set<Promise<unknown>>()
  private readonly order = new MessageOrder()
  private followed: readonly string[] = []
  private readonly contention: Contention
  private enrolment: Enrolment | undefined
  private beginning: Promise<void> | undefined

  constructor(options: MqttSessionOptions) {
    super()
    this.options = options
    const { maximumMs } = this.backOff
    this.contention = new Contention({
      identity: options.clientId ?? options.identity.name,
      shortMs: maximumMs,
      calmMs: contested.calm * maximumMs,
      lasting: () => this.settled(),
      changed: error => this.contestedBy(error),
    })
  }

  /** `IDENTITY_CONTESTED` and since when, while another client with this identity ends connections again and again. */
  get problem(): Contention['problem'] {
    return this.contention.problem
  }

  get online(): boolean {
    return this.isOnline
  }

  /** Messages of kinds that a later version of the contract may have and this one does not know; they are passed over. */
  get unknownMessages(): number {
    return this.unknown
  }

  /** Address of this end of the connection; undefined while there is none, and over WebSockets. */
  get localAddress(): string | undefined {
    const stream = this.client?.stream
    return stream instanceof Socket ? stream.localAddress : undefined
  }

  /**
   * Subscribes to these filters besides those of the options, in place of those followed so far. They are what the session
   * can do without: a broker that refuses one is heard of in the log, and nothing else suffers.
   */
  async follow(filters: readonly string[]): Promise<void> {
    const before = this.followed
    this.followed = filters
    const client = this.client
    if (!client?.connected) return
    const gone = before.filter(filter => !filters.includes(filter))
    if (gone.length > 0) await client.unsubscribeAsync(gone).catch(() => {}) // The break ends them as well.
    const added = filters.filter(filter => !before.includes(filter))
    await this.subscribe(client, [], added).catch(() => {}) // The next connection begins with them.
  }

  /**
   * Begins connecting; does not wait for the broker, which may be down for a week, nor for a certificate that has to be
   * claimed first. Throws `CERTIFICATE_INVALID` when a file cannot be read.
   */
  async start(): Promise<void> {
    this.enrolment = this.createEnrolment()
    await this.enrolment?.start()
    if (this.enrolment?.ready !== false) await this.begin()
  }

  /** Connects, once: the certificate it waited for may come while it does. */
  private begin(): Promise<void> {
    this.beginning ??= this.connect().catch(thrown => {
      this.beginning = undefined
      throw thrown
    })
    return this.beginning
  }

  private async connect(): Promise<void> {
    const { url, identity, secret, clientId, clean, will } = this.options
    const tls = await readTlsFiles(this.options)
    const client = mqtt.connect(url, {
      clientId: clientId ?? identity.name,
      username: identity.name,
      ...(secret !== undefined && { password: secret }),
      ...tls,
      protocolVersion: 4,
      clean: clean ?? true,
      reconnectPeriod: this.nextPause(),
      // A refusal may pass: the identity is enrolled later, or the broker is still starting.
      reconnectOnConnackError: true,
      resubscribe: false,
      queueQoSZero: false,
      keepalive: this.options.keepAliveS ?? defaultKeepAliveS,
      connectTimeout: 10_000,
      ...(will && { will: { topic: topicOf(will.address), payload: will.payload, ...delivery[will.address.kind] } }),
    })
    this.client = client
    client.on('connect', () => {
      this.connected(client).catch((error: Error) => this.report(error))
    })
    client.on('reconnect', () => {
      client.options.reconnectPeriod = this.nextPause()
    })
    client.on('close', () => {
      this.renewTls(client.options).catch((error: Error) => this.report(error))
      this.contention.ended()
      this.disconnected()
    })
    client.on('error', error => {
      // It is this side that ends a connection over which nothing comes.
      if (error.message === 'Keepalive timeout') this.contention.leave()
      this.report(error)
    })
    // MQTT.js acknowledges what it calls back for, and reads on then.
    client.handleMessage = ({ topic, payload, retain }, done) => {
      const taken = this.receive(topic, typeof payload === 'string' ? Buffer.from(payload) : payload, retain)
      if (taken === true) done()
      else if (taken) this.acknowledge(client.stream, topic, taken, done)
    }
  }

  /** Only on the connection that brought the message: on the next its identifier may be that of another. */
  private acknowledge(stream: MqttClient['stream'], topic: string, taken: Promise<boolean>, done: () => void): void {
    const { maxHandlingMs = defaultHandlingMs, logger } = this.options
    const late = setTimeout(() => {
      logger.error({ topic, maxHandlingMs }, 'handling a message takes too long; it is to be sent again')
      stream.destroy()
    }, maxHandlingMs)
    taken
      .then(
        kept => {
          if (!kept) stream.destroy()
          else if (!stream.destroyed) done()
        },
        error => {
          this.report(error)
          stream.destroy()
        },
      )
      .finally(() => clearTimeout(late))
  }

  /** Gives its subscriptions up, so that a member of a shared group finishes its work and gets no more. */
  async unsubscribe(): Promise<void> {
    const { logger } = this.options
    const subscriptions = [...this.options.subscriptions, ...this.followed]
    if (!this.isOnline || subscriptions.length === 0) return
    await this.client?.unsubscribeAsync(subscriptions).catch((error: Error) => {
      logger.warn({ error: error.message }, 'could not unsubscribe')
    })
  }

  /** Gives up what the broker has not acknowledged: it is not sent again, and its publishers are told. */
  withdraw(): void {
    const client = this.client
    for (const id of Object.keys(client?.outgoing ?? {})) client?.removeOutgoingMessage(Number(id))
  }

  /** Waits until everything in flight is acknowledged or two seconds have passed, then says goodbye (no will). */
  async stop(): Promise<void> {
    await this.enrolment?.stop()
    this.enrolment = undefined
    await this.beginning?.catch(() => {})
    this.beginning = undefined
    this.contention.leave()
    const client = this.client
    if (!client) return
    this.client = undefined
    if (client.connected) {
      await Promise.race([
        Promise.allSettled(this.inFlight),
        delay(goodbye.acknowledgements, undefined, { ref: false }),
      ])
    }
    // What is left would keep MQTT.js waiting for its acknowledgement for ever, and its publisher too.
    for (const id of Object.keys(client.outgoing)) client.removeOutgoingMessage(Number(id))
    const unanswered = setTimeout(() => client.stream.destroy(), goodbye.close)
    await client.endAsync(!client.connected)
    clearTimeout(unanswered)
    this.disconnected()
  }

  /** Resolves once connected and subscribed. */
  async whenOnline(signal?: AbortSignal): Promise<void> {
    if (!this.isOnline) await once(this, 'online', { signal })
  }

  /**
   * Publishes with the QoS and retain flag of the contract. Resolves when the broker has acknowledged (QoS 1) or the
   * packet was written (QoS 0). While offline, QoS 1 waits for the connection and QoS 0 rejects.
   */
  async publish<K extends TopicKind>(address: Extract<TopicAddress, { kind: K }>, payload: Payload<K>): Promise<void> {
    await this.publishRaw(address, encodePayload(address.kind as K, payload))
  }

  /** As `publish`, for a payload that is encoded already; empty bytes clear a retained message. */
  async publishRaw(address: TopicAddress, payload: Buffer): Promise<void> {
    const client = this.client
    const topic = topicOf(address)
    const { qos, retain } = delivery[address.kind]
    if (!client || (qos === 0 && !client.connected)) {
      throw new FaultlineError('BROKER_UNREACHABLE', `not connected to ${this.options.url}`)
    }
    this.bytes.sent += Buffer.byteLength(topic) + payload.byteLength
    const published = client.publishAsync(topic, payload, { qos, retain })
    this.inFlight.add(published)
    try {
      await published
    } catch (error) {
      throw toFaultlineError(error, 'BROKER_UNREACHABLE', `publishing ${address.kind}`)
    } finally {
      this.inFlight.delete(published)
    }
  }

  private async connected(client: MqttClient): Promise<void> {
    // Nagle's algorithm would hold a small packet until the one before is acknowledged: 40 ms on every verdict.
    if (client.stream instanceof Socket) client.stream.setNoDelay(true)
    this.order.connected()
    this.contention.begin()
    try {
      await this.subscribe(client, this.options.subscriptions, this.followed)
    } catch (error) {
      if (client !== this.client || !client.connected) return // Stopped, or the break has its own report.
      this.report(error)
      // Without its subscriptions the session would be silently deaf. Breaking the connection starts over after the
      // usual pause; MQTT.js' own reconnect() would not pause, and would forget what waits to be published.
      this.contention.leave()
      client.stream.destroy()
      return
    }
    if (client !== this.client || !client.connected) return
    // A connection that is cut short counts as an attempt that failed.
    this.attempts = this.contention.count
    client.options.reconnectPeriod = this.nextPause()
    this.isOnline = true
    this.options.logger.info({ broker: this.options.url }, 'connected to the broker')
    this.announce('online')
  }

  /**
   * The next connection is made with the files as they are then: certificates are renewed while an agent runs. Files
   * that are no use are passed over for those before.
   */
  private async renewTls(options: IClientOptions): Promise<void> {
    const tls = await readTlsFiles(this.options)
    Object.assign(options, tls)
    // MQTT.js copied them for WebSocket when it began.
    if (options.wsOptions) Object.assign(options.wsOptions, tls)
  }

  private createEnrolment(): Enrolment | undefined {
    const { identity, enrolment: access, ca, certificate, key, logger } = this.options
    if (!access || ca === undefined || certificate === undefined || key === undefined) return undefined
    const enrolment = new Enrolment({ identity, access, files: { ca, certificate, key }, logger })
    enrolment.on('certified', () => {
      if (this.client) this.reconnect(this.client)
      else this.begin().catch(thrown => this.report(thrown))
    })
    enrolment.on('problem', error => this.announce('problem', error))
    return enrolment
  }

  /** Leaves with a goodbye (MQTT 3.1.1, 3.14: no will) and returns with the files as they are now. */
  private reconnect({ stream, connected }: MqttClient): void {
    if (!connected) return // The next attempt reads them anyway.
    this.contention.leave()
    stream.end(disconnectPacket)
    setTimeout(() => stream.destroy(), goodbye.close).unref()
  }

  /** Throws `CREDENTIALS_REFUSED` for a filter of `needed`, and what breaks the connection. One of `followed` is logged. */
  private async subscribe(client: MqttClient, needed: readonly string[], followed: readonly string[]): Promise<void> {
    const filters = [...needed, ...followed]
    if (filters.length === 0) return
    try {
      await client.subscribeAsync(filters, { qos: 1 })
    } catch (cause) {
      if (!(cause instanceof ErrorWithSubackPacket && cause.packet)) throw cause // The connection broke.
      // MQTT 3.1.1, 3.9.3: return code 128 in the place of each filter that was refused.
      const refused = filters.filter((_, i) => Number(cause.packet.granted[i]) >= 128)
      const error = new FaultlineError(
        'CREDENTIALS_REFUSED',
        `the broker refused the subscription to ${refused.join(', ')}`,
        { cause },
      )
      if (refused.some(filter => needed.includes(filter))) throw error
      this.options.logger.warn({ code: error.code, error: error.message }, 'goes on without it')
    }
  }

  private disconnected(): void {
    if (!this.isOnline) return
    this.isOnline = false
    const { logger, url } = this.options
    if (this.client) logger.warn({ broker: url }, 'connection to the broker lost')
    else logger.info({ broker: url }, 'disconnected from the broker')
    this.announce('offline')
  }

  /** False for a message that is held: it is not to be acknowledged. */
  private receive(topic: string, payload: Buffer, retained: boolean): boolean | Promise<boolean> {
    this.bytes.received += Buffer.byteLength(topic) + payload.byteLength
    // A handler that fails, now or later, must not end the session, nor the process.
    try {
      if (payload.byteLength === 0) {
        this.clear(topic)
        return true
      }
      const message = decodeMessage(topic, payload)
      if (delivery[message.kind].retain && !this.order.accepts(topic, message, retained)) {
        this.options.logger.debug({ topic }, 'retained message passed over: a newer one came before')
        return true
      }
      const handled = this.options.onMessage?.(message)
      const ended = handled?.then(
        () => true,
        thrown => this.takeFailure(thrown, topic, payload),
      )
      return this.options.awaitsHandling && ended ? ended : true
    } catch (thrown) {
      return this.takeFailure(thrown, topic, payload)
    }
  }

  /** Whether a message that `onMessage` failed on is acknowledged all the same. */
  private takeFailure(thrown: unknown, topic: string, payload: Buffer): boolean {
    if (thrown instanceof HeldMessage) return false
    this.refuse(thrown, topic, payload)
    return true
  }

  private clear(topic: string): void {
    const address = parseTopic(topic)
    if (!address || !delivery[address.kind].retain) return
    this.order.cleared(topic)
    this.emit('cleared', address)
  }

  private refuse(thrown: unknown, topic: string, payload: Buffer): void {
    const error = toFaultlineError(thrown)
    if (error.code === 'TOPIC_UNKNOWN') {
      // Only the first is logged: a publisher that knows a later contract goes on publishing them.
      if (this.unknown++ === 0) {
        this.options.logger.info({ topic: topic.slice(0, 200) }, 'message of an unknown kind passed over')
      }
      return
    }
    // A code of our own is the sender's mistake; INTERNAL is a handler's, and needs its stack.
    const where = error.code === 'INTERNAL' && { err: thrown }
    this.options.logger.warn({ code: error.code, topic, error: error.message, ...where }, 'message refused')
    this.announce('refused', error, topic, payload)
  }

  private report(thrown: unknown): void {
    const code = (thrown as { code?: unknown }).code
    // CONNACK 4 and 5 (MQTT 3.1.1, 3.2.2.3): bad user name or password, not authorised.
    const refused = code === 4 || code === 5
    // An attempt at several addresses fails with an AggregateError, which has a code but no message of its own.
    const message = (thrown instanceof Error && thrown.message) || String(code ?? thrown)
    const error =
      thrown instanceof FaultlineError
        ? thrown
        : new FaultlineError(refused ? 'CREDENTIALS_REFUSED' : 'BROKER_UNREACHABLE', message, { cause: thrown })
    const { logger, url } = this.options
    logger.warn({ code: error.code, broker: url, error: error.message }, 'no connection to the broker')
    this.announce('problem', error)
  }

  /** A listener's mistake is not the session's. */
  private announce<E extends keyof SessionEvents>(event: E, ...args: SessionEvents[E]): void {
    try {
      this.emit(event as keyof SessionEvents, ...(args as SessionEvents['refused']))
    } catch (thrown) {
      this.options.logger.error({ event, err: thrown }, 'a listener failed')
    }
  }

  /** The connection has lasted: the next one may begin soon after its end. */
  private settled(): void {
    this.attempts = 0
    if (this.client) this.client.options.reconnectPeriod = this.nextPause()
  }

  private contestedBy(error: FaultlineError | undefined): void {
    const { logger, url } = this.options
    if (!error) {
      logger.info({ broker: url }, 'no other client uses this identity any more')
      return
    }
    logger.error({ code: error.code, broker: url, error: error.message }, 'another client uses this identity')
    this.announce('problem', error)
  }

  private get backOff(): { initialMs: number; maximumMs: number } {
    return this.options.backOff ?? usualBackOff
  }

  private nextPause(): number {
    const { initialMs, maximumMs } = this.backOff
    const longest = this.problem ? contested.pause * maximumMs : maximumMs
    const ceiling = Math.min(longest, initialMs * 2 ** Math.min(this.attempts++, 16))
    return Math.round(ceiling * (0.5 + Math.random() / 2))
  }
}
