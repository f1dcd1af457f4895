import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { BrokerMetrics } from '@faultline/broker'
import { Registry } from '@faultline/provisioning'
import { createLogger } from '@faultline/runtime'
import mqtt, { type MqttClient } from 'mqtt'
import { generate, type IConnectPacket, type ISubscribePacket } from 'mqtt-packet'
import { startProgram, startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { testEachStore } from './each-store.ts'
import { connected, credentials, escalationOf, escalations, press, server, type TestBroker } from './harness.ts'
import { connectPacket, connectRaw, type RawClient } from './raw-client.ts'

const group = `$share/servers/${escalations}`
const subscribePacket: ISubscribePacket = { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: group, qos: 1 }] }

const loginOf = (secrets: ReadonlyMap<string, string>): Partial<IConnectPacket> => ({
  clientId: server.name,
  username: server.name,
  password: Buffer.from(secrets.get(server.name)!),
})

/** A member with a clean session, as a server agent has, that acknowledges nothing. */
async function joinDeaf(t: TestContext, port: number, login: Partial<IConnectPacket>): Promise<RawClient> {
  const member = await connectRaw(t, port, login)
  await member.next('connack')
  member.send(subscribePacket)
  await member.pick('suback')
  return member
}

/** Publishes numbered escalations; each is acknowledged when this resolves. */
async function escalate(device: MqttClient, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) await device.publishAsync(escalationOf('press-1'), String(i), { qos: 1 })
}

async function takeAll(member: RawClient, count: number): Promise<string[]> {
  const payloads: string[] = []
  while (payloads.length < count) payloads.push((await member.next('publish')).payload.toString())
  return payloads
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i))

/** Resolves once the broker has noticed that so many connections are left. */
async function noticed({ broker }: TestBroker, connections: number): Promise<void> {
  const signal = AbortSignal.timeout(10_000)
  while (broker.counts.connected !== connections) {
    signal.throwIfAborted()
    await new Promise(setImmediate)
  }
}

interface Joined {
  /** Resolves once it has been sent so many messages. */
  sent(count: number): Promise<unknown>
  /** Goes, one way or another. */
  go(): unknown
}

/** Everything acknowledged, in flight to the only member or come while there was none, is the next member's. */
async function keepsAll(
  t: TestContext,
  broker: TestBroker,
  joinGroup: (broker: TestBroker) => Promise<Joined>,
): Promise<void> {
  const device = await broker.connect(press)
  const member = await joinGroup(broker)
  await escalate(device, 0, 3)
  await member.sent(3)
  await member.go()
  await noticed(broker, 1)
  await escalate(device, 3, 6)
  const next = await joinDeaf(t, broker.broker.port, loginOf(broker.secrets))
  assert.deepEqual(await takeAll(next, 6), numbers(6))
  assert.ok(Object.values(broker.broker.counts.dropped).every(count => count === 0))
}

const ways: Record<string, (member: RawClient, broker: TestBroker, t: TestContext) => unknown> = {
  'closes its connection': ({ socket }) => socket.end(),
  'has its connection reset': ({ socket }) => socket.resetAndDestroy(),
  'says nothing for too long': member => member.closed(),
  disconnects: member => member.send({ cmd: 'disconnect' }),
  'breaks the protocol': ({ socket }) => socket.write(Buffer.from([0, 0])),
  unsubscribes: async member => {
    member.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [group] })
    await member.next('unsuback')
    member.socket.end()
  },
  'is replaced by another connection of its name': async (member, { broker, secrets }, t) => {
    const other = await connectRaw(t, broker.port, loginOf(secrets))
    await other.next('connack')
    await member.closed()
    other.socket.end()
  },
}

for (const [way, go] of Object.entries(ways)) {
  testEachStore(`a group keeps what it was sent when its last member ${way}`, async (start, t) =>
    keepsAll(t, await start(), async broker => {
      const member = await joinDeaf(t, broker.broker.port, { ...loginOf(broker.secrets), keepalive: 1 })
      return { sent: count => takeAll(member, count), go: () => go(member, broker, t) }
    }),
  )
}

/** Connects, sends bytes of its second argument, and says what it is sent. */
const memberScript = `
import { connect } from 'node:net'
import { parser } from 'mqtt-packet'
const [port, bytes] = process.argv.slice(1)
const reader = parser().on('packet', ({ cmd, payload }) => console.log(cmd, String(payload)))
connect(Number(port), '127.0.0.1').on('data', data => reader.parse(data)).write(Buffer.from(bytes, 'base64'))`

testEachStore('a group keeps what it was sent when the process of its last member is killed', async (start, t) =>
  keepsAll(t, await start(), async ({ broker, secrets }) => {
    const bytes = Buffer.concat([generate({ ...connectPacket, ...loginOf(secrets) }), generate(subscribePacket)])
    const args = ['--input-type=module', '--eval', memberScript, String(broker.port), bytes.toString('base64')]
    const member = startProgram(t, process.execPath, args)
    await member.said(/suback/)
    return { sent: count => member.said(new RegExp(`publish ${count - 1}`)), go: () => member.stop('SIGKILL') }
  }),
)

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test(`a group keeps what it was sent when ${signal} ends the broker`, async t => {
    const directory = await temporaryDirectory(t)
    const files = { registry: join(directory, 'registry.db'), store: join(directory, 'broker.db') }
    const registry = new Registry(files.registry)
    await registry.start()
    t.after(() => registry.stop())
    const secrets = new Map<string, string>()
    for (const identity of [press, server]) secrets.set(identity.name, (await registry.enroll(identity)).secret)
    const config = join(directory, 'broker.yaml')
    await writeFile(config, JSON.stringify({ port: 0, ...files })) // JSON is YAML.
    const startProcess = async () => {
      const program = startScript(t, 'broker/main.ts', ['--config', config])
      const [, port] = await program.said(/"port":(\d+)/, 60_000)
      return { program, port: Number(port) }
    }
    const connectDevice = async (port: number) => {
      const device = mqtt.connect(`mqtt://127.0.0.1:${port}`, { ...credentials(press, secrets), reconnectPeriod: 0 })
      t.after(() => device.end(true))
      await connected(device)
      return device
    }
    const first = await startProcess()
    const member = await joinDeaf(t, first.port, loginOf(secrets))
    await escalate(await connectDevice(first.port), 0, 3)
    await takeAll(member, 3)
    await first.program.stop(signal)
    const second = await startProcess()
    await escalate(await connectDevice(second.port), 3, 6)
    const next = await joinDeaf(t, second.port, loginOf(secrets))
    assert.deepEqual(await takeAll(next, 6), numbers(6))
  })
}

testEachStore(
  'what a group still has when no member came back in time is counted, and logged once',
  async (start, t) => {
    const log = join(await temporaryDirectory(t), 'log')
    const logger = createLogger('broker', { file: log })
    const broker = await start({ limits: { emptyGroupMs: 200 }, logger })
    const device = await broker.connect(press)
    const { counts, engine } = broker.broker
    const abandon = async () => {
      const member = await joinDeaf(t, broker.broker.port, loginOf(broker.secrets))
      await escalate(device, 0, 3)
      const before = counts.dropped['group-abandoned']
      member.socket.destroy()
      const signal = AbortSignal.timeout(10_000)
      while (counts.dropped['group-abandoned'] === before || engine!.persistence.queued.messages > 0) {
        signal.throwIfAborted()
        await new Promise(setImmediate)
      }
    }
    await abandon()
    await abandon()
    assert.equal(counts.dropped['group-abandoned'], 6)
    assert.match(
      await new BrokerMetrics(broker.broker).registry.metrics(),
      /dropped_total\{reason="group-abandoned"\} 6$/m,
    )
    const lines = (await readFile(log, 'utf8')).split('\n').filter(line => line.includes('group-abandoned'))
    assert.equal(lines.length, 1)
    assert.match(lines[0]!, /"messages dropped"/)
  },
)
