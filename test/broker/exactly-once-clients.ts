import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { TestContext } from 'node:test'
import type { Packet } from 'mqtt-packet'
import { anna, press, type TestBroker } from './harness.ts'
import { connectPacket, connectRaw, type RawClient } from './raw-client.ts'

export const topic = `faultline/v1/${press.name}/state`
export const messageId = 7

/** Opens a stored session. */
export async function open(
  t: TestContext,
  { broker, secrets }: TestBroker,
  name: string,
  clientId = name,
): Promise<RawClient> {
  const password = Buffer.from(secrets.get(name)!)
  const client = await connectRaw(t, broker.port, {
    ...connectPacket,
    clientId,
    username: name,
    password,
    clean: false,
  })
  assert.equal((await client.next('connack')).returnCode, 0)
  return client
}

/** Sends at QoS 2 as MQTT 3.1.1, 4.3.3 has it, over as many connections as it takes. */
export class Sender {
  state: 'sent' | 'released' | 'done' = 'done'
  payload = ''
  private client: RawClient | undefined

  publish(payload: string): void {
    this.payload = payload
    this.state = 'sent'
    this.send(false)
  }

  attach(client: RawClient): void {
    this.client = client
    follow(client, ({ cmd }) => {
      if (cmd === 'pubrec' && this.state !== 'done') {
        this.state = 'released'
        client.send({ cmd: 'pubrel', messageId })
      } else if (cmd === 'pubcomp') this.state = 'done'
    })
    if (this.state === 'sent') this.send(true)
    if (this.state === 'released') client.send({ cmd: 'pubrel', messageId })
  }

  private send(dup: boolean): void {
    this.client!.send({ cmd: 'publish', topic, payload: this.payload, qos: 2, dup, retain: false, messageId })
  }
}

/** Receives at QoS 2: takes a packet identifier once until it is released. */
export class Receiver {
  readonly got: string[] = []
  private readonly held = new Set<number>()

  get idle(): boolean {
    return this.held.size === 0
  }

  attach(client: RawClient): void {
    follow(client, packet => {
      if (packet.cmd === 'publish') {
        const id = packet.messageId!
        if (!this.held.has(id)) this.got.push(String(packet.payload))
        this.held.add(id)
        client.send({ cmd: 'pubrec', messageId: id })
      } else if (packet.cmd === 'pubrel') {
        this.held.delete(packet.messageId!)
        client.send({ cmd: 'pubcomp', messageId: packet.messageId! })
      }
    })
  }
}

function follow(client: RawClient, react: (packet: Packet) => void): void {
  const read = () => {
    for (const packet of client.left()) react(packet)
  }
  client.socket.on('packet', read)
  read()
}

/** Resolves once something holds that packets to one of the clients bring about. */
export async function until(holds: () => boolean, ...clients: RawClient[]): Promise<void> {
  const signal = AbortSignal.timeout(10_000)
  while (!holds()) await Promise.race(clients.map(({ socket }) => once(socket, 'packet', { signal })))
}

export const clientsOf = ({ broker }: TestBroker) =>
  (broker.engine!.aedes as unknown as { clients: Record<string, { conn: Socket; _nextId: number }> }).clients

/** A message from a device to an operator's tool, over as many brokers as it takes. */
export class Exchange {
  readonly sender = new Sender()
  readonly receiver = new Receiver()
  private readonly t: TestContext
  private connections: RawClient[] = []

  constructor(t: TestContext) {
    this.t = t
  }

  async open(broker: TestBroker, filter: string): Promise<void> {
    const tool = await this.connect(broker)
    tool.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos: 2 }] })
    await tool.next('suback')
    this.attach()
  }

  /** Ends the connections to a broker that is killed: what it sent before is on its way to them, and nothing after it. */
  async drop(broker: TestBroker): Promise<void> {
    for (const { conn } of Object.values(clientsOf(broker))) conn.destroy()
    await Promise.all(this.connections.map(connection => connection.closed()))
  }

  /** Completes the exchange with another broker, and another with the same packet identifier. */
  async resume(broker: TestBroker): Promise<void> {
    await this.connect(broker)
    this.attach()
    await this.completed('one')
    this.sender.publish('two')
    await this.completed('one', 'two')
    assert.deepEqual(this.receiver.got, ['one', 'two'])
  }

  completed(...payloads: string[]): Promise<void> {
    const { sender, receiver } = this
    const isComplete = () => sender.state === 'done' && receiver.got.length >= payloads.length && receiver.idle
    return until(isComplete, ...this.connections)
  }

  private async connect(broker: TestBroker): Promise<RawClient> {
    const tool = await open(this.t, broker, anna.name, `${anna.name}/tool`)
    this.connections = [tool, await open(this.t, broker, press.name)]
    return tool
  }

  private attach(): void {
    this.receiver.attach(this.connections[0]!)
    this.sender.attach(this.connections[1]!)
  }
}
