import { EventEmitter, once } from 'node:events'
import type { TestContext } from 'node:test'
import { Broker, type BrokerOptions } from '@faultline/broker'
import { type Identity, identityOf } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { type Logger, silentLogger } from '@faultline/runtime'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'

export const press = identityOf('device', 'plant-a', 'press-1')
export const pump = identityOf('device', 'plant-a', 'pump-2')
export const server = identityOf('server', 'gpu-1')
export const flows = identityOf('flows', 'main')
export const anna = identityOf('operator', 'anna')
export const plantA = identityOf('site', 'plant-a')
export const ben = identityOf('operator', 'ben')

export interface TestBroker {
  broker: Broker
  url: string
  registry: Registry
  secrets: ReadonlyMap<string, string>
  /** Connects, or rejects with the broker's refusal. Ends with the test. */
  connect(identity: Identity, options?: IClientOptions): Promise<MqttClient>
}

/** A registry in memory with everybody above enrolled, and their secrets. */
export async function enrollAll(): Promise<{ registry: Registry; secrets: ReadonlyMap<string, string> }> {
  const registry = new Registry(':memory:')
  await registry.start()
  const enrolled = [press, pump, server, flows, anna, ben, plantA].map(
    async identity => [identity.name, (await registry.enroll(identity)).secret] as const,
  )
  return { registry, secrets: new Map(await Promise.all(enrolled)) }
}

/** Most tests only read it, and hashing takes a while. */
let shared: ReturnType<typeof enrollAll> | undefined

/** A broker on free ports of loopback that knows everybody above. */
export async function startBroker(t: TestContext, options: Partial<BrokerOptions> = {}): Promise<TestBroker> {
  shared ??= enrollAll()
  const { registry, secrets } = await shared
  const broker = new Broker({ port: 0, registry, logger: silentLogger, ...options })
  await broker.start()
  const clients: MqttClient[] = []
  t.after(async () => {
    for (const client of clients) client.end(true)
    await broker.stop()
  })
  const url = `mqtt://127.0.0.1:${broker.port}`
  const connect = async (identity: Identity, overrides: IClientOptions = {}) => {
    const client = mqtt.connect(url, { ...credentials(identity, secrets), reconnectPeriod: 0, ...overrides })
    clients.push(client)
    await connected(client)
    return client
  }
  return { broker, url, registry, secrets, connect }
}

export const credentials = (identity: Identity, secrets: ReadonlyMap<string, string>): IClientOptions => ({
  clientId: identity.name,
  username: identity.name,
  password: secrets.get(identity.name),
})

/** Resolves at CONNACK 0; rejects with the CONNACK's code, or when the connection ends without one. */
export function connected(client: MqttClient): Promise<void> {
  return new Promise((resolve, reject) => {
    client.once('connect', () => resolve())
    client.on('error', reject)
    client.once('close', () => reject(new Error('closed without CONNACK')))
  })
}

/** The CONNACK code a connection is refused with. */
export async function refusalCode(attempt: Promise<unknown>): Promise<number> {
  try {
    await attempt
  } catch (error) {
    return (error as { code: number }).code
  }
  throw new Error('the connection was accepted')
}

/** Collects what a client receives; `until` waits for a number of messages. */
export function collect(client: MqttClient) {
  const messages: { topic: string; payload: string; qos: number; retain: boolean }[] = []
  const arrivals = new EventEmitter()
  client.on('message', (topic, payload, { qos, retain }) => {
    messages.push({ topic, payload: payload.toString(), qos, retain })
    arrivals.emit('message')
  })
  return {
    messages,
    payloads: () => messages.map(({ payload }) => payload),
    until: async (count: number) => {
      const signal = AbortSignal.timeout(30_000)
      while (messages.length < count) await once(arrivals, 'message', { signal })
      return messages
    },
  }
}

/** A logger whose warnings are kept, with what they are about. */
export function recordLog(): { lines: Record<string, unknown>[]; logger: Logger } {
  const lines: Record<string, unknown>[] = []
  const warn = (about: object, msg: string) => lines.push({ ...about, msg })
  return { lines, logger: Object.assign(Object.create(silentLogger) as Logger, { warn }) }
}

export const escalationOf = (device: string) => `faultline/v1/devices/plant-a/${device}/points/de/escalation`
export const verdictFor = (device: string) => `faultline/v1/devices/plant-a/${device}/points/de/verdict`
export const escalations = 'faultline/v1/devices/+/+/points/+/escalation'
