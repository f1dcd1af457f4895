import { FaultlineError } from '@faultline/protocol'
import { readTlsFiles } from '@faultline/runtime'
import mqtt, { type MqttClient } from 'mqtt'

/** A broker of somebody else's, and the topic there. */
export interface MqttAccess {
  url: string
  topic: string
  username?: string
  password?: string
  /** PEM files. */
  ca?: string
  certificate?: string
  key?: string
}

export interface SubscriptionHandlers {
  /** `retained`: it is as old as may be. */
  message(payload: Buffer, retained: boolean): void
  /** The connection is gone, once. */
  closed(error: FaultlineError): void
}

const connectTimeoutMs = 10_000
const keepAliveS = 15

/** One subscription on a broker that need not be Faultline's. It is not made again when the connection breaks. */
export class Subscription {
  private readonly access: MqttAccess
  private readonly handlers: SubscriptionHandlers
  private client: MqttClient | undefined
  private closing = false

  constructor(access: MqttAccess, handlers: SubscriptionHandlers) {
    this.access = access
    this.handlers = handlers
  }

  /** Resolves once subscribed, or closed meanwhile. Throws `SENSOR_FAILED`, and `CERTIFICATE_INVALID` for its files. */
  async open(): Promise<void> {
    const { url, topic, username, password } = this.access
    const tls = await readTlsFiles(this.access)
    if (this.closing) return
    const client = mqtt.connect(url, {
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...tls,
      protocolVersion: 4,
      keepalive: keepAliveS,
      connectTimeout: connectTimeoutMs,
      // Whoever takes the windows tries again, and says so in health until then.
      reconnectPeriod: 0,
    })
    this.client = client
    let reason: Error | undefined
    client.on('error', error => {
      reason = error
    })
    client.on('message', (_topic, payload, { retain }) => this.handlers.message(payload, retain))
    const closed = new Promise<never>((_, reject) => {
      client.once('close', () => reject(this.failure(reason?.message || 'the connection is lost', reason)))
    })
    closed.catch((error: FaultlineError) => {
      if (!this.closing) this.handlers.closed(error)
    })
    const connected = new Promise<void>(resolve => client.once('connect', () => resolve()))
    try {
      await Promise.race([connected, closed])
      const [granted] = await Promise.race([client.subscribeAsync(topic, { qos: 1 }), closed])
      // MQTT 3.1.1, 3.9.3: 128 is a refusal.
      if (granted && granted.qos >= 128) throw new Error('refused')
    } catch (cause) {
      if (this.closing) return
      throw cause instanceof FaultlineError ? cause : this.failure('does not let it subscribe', cause)
    }
  }

  async close(): Promise<void> {
    this.closing = true
    const client = this.client
    this.client = undefined
    await client?.endAsync(true)
  }

  private failure(what: string, cause: unknown): FaultlineError {
    return new FaultlineError('SENSOR_FAILED', `${this.access.url}, ${this.access.topic}: ${what}`, { cause })
  }
}
