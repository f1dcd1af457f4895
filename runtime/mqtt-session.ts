import { EventEmitter, once } from 'node:events'
import {
  decodeMessage,
  delivery,
  encodePayload,
  FaultlineError,
  type Identity,
  type Message,
  type Payload,
  type TopicAddress,
  type TopicKind,
  toFaultlineError,
  topicOf,
} from '@faultline/protocol'
import mqtt, { type MqttClient } from 'mqtt'
import type { Logger } from './logger.ts'
import type { Service } from './service.ts'

export interface MqttSessionOptions {
  /** `mqtt://host:port`, `mqtts://…`, `ws://…`, `wss://…`. */
  url: string
  identity: Identity
  secret: string
  /** The identity's name when absent, as devices and servers must have it. */
  clientId?: string
  /** True (the default) forgets subscriptions and queued messages when the connection ends. */
  clean?: boolean
  /** Published by the broker when the connection breaks without a goodbye. */
  will?: { address: TopicAddress; payload: Buffer }
  /** Topic filters, `$share/…` included; subscribed again after every reconnect. */
  subscriptions: readonly string[]
  /** Called for each valid message; refused ones are logged and counted instead. */
  onMessage?: (message: Message) => void
  logger: Logger
  /** First and longest pause between connection attempts, in ms. */
  backOff?: { initialMs: number; maximumMs: number }
}

interface SessionEvents {
  /** Connected and subscribed. */
  online: []
  offline: []
  /** A payload or a topic that is not of the contract. */
  refused: [error: FaultlineError, topic: string]
}

/**
 * A connection to the broker that outlives breaks: reconnects with exponential back-off and full jitter (so that a
 * fleet does not return in step), subscribes again, speaks in typed messages, and never throws out of a subscriber.
 */
export class MqttSession extends EventEmitter<SessionEvents> implements Service {
  /** Topic and payload bytes of published and received messages. */
  readonly bytes = { sent: 0, received: 0 }
  private readonly options: MqttSessionOptions
  private client: MqttClient | undefined
  private isOnline = false
  private attempts = 0

  constructor(options: MqttSessionOptions) {
    super()
    this.options = options
  }

  get online(): boolean {
    return this.isOnline
  }

  /** Begins connecting; does not wait for the broker, which may be down for a week. */
  async start(): Promise<void> {
    const { url, identity, secret, clientId, clean, will } = this.options
    const client = mqtt.connect(url, {
      clientId: clientId ?? identity.name,
      username: identity.name,
      password: secret,
      protocolVersion: 4,
      clean: clean ?? true,
      reconnectPeriod: this.nextPause(),
      resubscribe: false,
      queueQoSZero: false,
      keepalive: 15,
      connectTimeout: 10_000,
      ...(will && { will: { topic: topicOf(will.address), payload: will.payload, ...delivery[will.address.kind] } }),
    })
    this.client = client
    client.on('connect', () => void this.connected(client))
    client.on('reconnect', () => {
      client.options.reconnectPeriod = this.nextPause()
    })
    client.on('close', () => this.disconnected())
    client.on('error', error => this.report(error))
    client.on('message', (topic, payload) => this.receive(topic, payload))
  }

  /** Waits until everything in flight is acknowledged or two seconds have passed, then says goodbye (no will). */
  async stop(): Promise<void> {
    const client = this.client
    if (!client) return
    this.client = undefined
    const grace = setTimeout(() => client.end(true), 2_000)
    await client.endAsync(!client.connected)
    clearTimeout(grace)
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
    try {
      await client.publishAsync(topic, payload, { qos, retain })
    } catch (error) {
      throw toFaultlineError(error, 'BROKER_UNREACHABLE', `publishing ${address.kind}`)
    }
  }

  private async connected(client: MqttClient): Promise<void> {
    try {
      if (this.options.subscriptions.length > 0) await this.subscribe(client)
    } catch (error) {
      // Without its subscriptions the session would be silently deaf: start over.
      this.report(error)
      client.reconnect()
      return
    }
    this.attempts = 0
    this.isOnline = true
    this.options.logger.info({ broker: this.options.url }, 'connected to the broker')
    this.emit('online')
  }

  private async subscribe(client: MqttClient): Promise<void> {
    const granted = await client.subscribeAsync([...this.options.subscriptions], { qos: 1 })
    const denied = granted.find(grant => grant.qos > 2)
    if (denied)
      throw new FaultlineError('CREDENTIALS_REFUSED', `the broker refused the subscription to ${denied.topic}`)
  }

  private disconnected(): void {
    if (!this.isOnline) return
    this.isOnline = false
    this.options.logger.warn({ broker: this.options.url }, 'connection to the broker lost')
    this.emit('offline')
  }

  private receive(topic: string, payload: Buffer): void {
    this.bytes.received += Buffer.byteLength(topic) + payload.byteLength
    if (payload.byteLength === 0) return // A retained message was cleared.
    try {
      this.options.onMessage?.(decodeMessage(topic, payload))
    } catch (thrown) {
      const error = toFaultlineError(thrown)
      this.options.logger.warn({ code: error.code, topic, error: error.message }, 'message refused')
      this.emit('refused', error, topic)
    }
  }

  private report(thrown: unknown): void {
    const code = (thrown as { code?: unknown }).code
    // CONNACK 4 and 5 (MQTT 3.1.1, 3.2.2.3): bad user name or password, not authorised.
    const refused = code === 4 || code === 5
    const error = toFaultlineError(thrown, refused ? 'CREDENTIALS_REFUSED' : 'BROKER_UNREACHABLE')
    this.options.logger.warn(
      { code: error.code, broker: this.options.url, error: error.message },
      'no connection to the broker',
    )
  }

  private nextPause(): number {
    const { initialMs, maximumMs } = this.options.backOff ?? { initialMs: 500, maximumMs: 30_000 }
    const ceiling = Math.min(maximumMs, initialMs * 2 ** Math.min(this.attempts++, 16))
    return Math.round(ceiling * (0.5 + Math.random() / 2))
  }
}
