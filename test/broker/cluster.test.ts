import assert from 'node:assert/strict'
import { after, before, type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Registry } from '@faultline/provisioning'
import type { MqttClient } from 'mqtt'
import { missing } from '../support/programs.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import {
  anna,
  ben,
  collect,
  escalationOf,
  escalations,
  press,
  recordLog,
  refusalCode,
  server,
  startBroker,
  type TestBroker,
  verdictFor,
} from './harness.ts'
import { connectRaw } from './raw-client.ts'

const skip = missing('redis-server')
const group = `$share/servers/${escalations}`
const state = `faultline/v1/${press.name}/state`

let redis: TestRedis
const endings: (() => Promise<void>)[] = []
before(async () => {
  if (!skip) redis = await startRedis({ after: end => endings.unshift(end) })
})
after(async () => {
  for (const end of endings) await end()
})

/** Brokers that share an empty Redis. */
async function startCluster(t: TestContext, count = 2): Promise<TestBroker[]> {
  await redis.flush()
  return Promise.all(Array.from({ length: count }, () => startBroker(t, { redis: redis.url })))
}

async function join({ connect }: TestBroker, clientId: string, filter = group) {
  const client = await connect(anna, { clientId })
  const received = collect(client)
  await client.subscribeAsync(filter, { qos: 1 })
  return { client, ...received }
}

async function escalate({ connect }: TestBroker, count: number, from = 0): Promise<void> {
  const device = await connect(press)
  for (let i = from; i < from + count; i++) {
    await device.publishAsync(escalationOf('press-1'), String(i), { qos: 1 })
  }
  await device.endAsync()
}

const closed = (client: MqttClient) => new Promise<void>(resolve => client.once('close', () => resolve()))
const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => String(from + i))
const sorted = (values: string[]): string[] => values.sort((a, b) => Number(a) - Number(b))

test('an escalation and its verdict cross from one broker to another', { skip }, async t => {
  const [one, other] = await startCluster(t)
  const device = await one!.connect(press)
  const verdicts = collect(device)
  await device.subscribeAsync(verdictFor('press-1'), { qos: 1 })
  const agent = await other!.connect(server)
  const received = collect(agent)
  await agent.subscribeAsync(group, { qos: 1 })
  await device.publishAsync(escalationOf('press-1'), Buffer.from([0, 255, 10]), { qos: 1 })
  await received.until(1)
  await agent.publishAsync(verdictFor('press-1'), 'ball', { qos: 1 })
  await verdicts.until(1)
  assert.deepEqual(verdicts.payloads(), ['ball'])
  assert.equal(received.messages.length, 1)
})

test('messages of a group go round the members of all brokers, each to one', { skip }, async t => {
  const [one, other] = await startCluster(t)
  const members = [await join(one!, 'a'), await join(other!, 'b'), await join(one!, 'c')]
  const second = await join(other!, 'd', `$share/others/${escalations}`)
  await escalate(one!, 6)
  await escalate(other!, 6, 6)
  await Promise.all([...members.map(member => member.until(4)), second.until(12)])
  assert.deepEqual(sorted(members.flatMap(member => member.payloads())), numbers(12))
  for (const member of members) assert.equal(member.messages.length, 4)
  assert.deepEqual(second.payloads(), numbers(12))
})

test('at QoS 0 a message goes to one member too, wherever it is', { skip }, async t => {
  const [one, other] = await startCluster(t)
  const members = [await join(one!, 'a'), await join(other!, 'b')]
  const device = await one!.connect(press)
  for (const payload of numbers(4)) await device.publishAsync(escalationOf('press-1'), payload, { qos: 0 })
  await Promise.all(members.map(member => member.until(2)))
  assert.deepEqual(sorted(members.flatMap(member => member.payloads())), numbers(4))
})

test('what a member of another broker has not acknowledged when it is lost goes to the next', { skip }, async t => {
  const [one, other] = await startCluster(t)
  const password = Buffer.from(other!.secrets.get(anna.name)!)
  const deaf = await connectRaw(t, other!.broker.port, { username: anna.name, password, clientId: 'deaf', clean: true })
  await deaf.next('connack')
  deaf.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: group, qos: 1 }] })
  await deaf.next('suback')
  await escalate(one!, 3)
  await deaf.next('publish')
  const heir = await join(one!, 'heir')
  deaf.socket.destroy()
  await heir.until(3)
  assert.deepEqual(heir.payloads(), numbers(3))
})

test('what a member has not acknowledged that leaves while Redis is away comes to the next', { skip }, async t => {
  const mortal = await startRedis(t, { durable: true })
  const [one, other] = [await startBroker(t, { redis: mortal.url }), await startBroker(t, { redis: mortal.url })]
  const password = Buffer.from(one.secrets.get(anna.name)!)
  const deaf = await connectRaw(t, one.broker.port, { username: anna.name, password, clientId: 'deaf' })
  await deaf.next('connack')
  deaf.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: group, qos: 1 }] })
  await deaf.next('suback')
  await escalate(other, 3)
  await deaf.next('publish')
  await mortal.kill()
  deaf.socket.destroy()
  const signal = AbortSignal.timeout(30_000)
  const { counts } = one.broker
  const until = async (holds: () => boolean) => {
    while (!holds()) {
      signal.throwIfAborted()
      await pause(10)
    }
  }
  await until(() => counts.connected === 0)
  const failed = counts.redisErrors
  await until(() => counts.redisErrors > failed) // Commands are given up all at once.
  await mortal.restart()
  await until(() => other.broker.notReady().length === 0)
  const heir = await join(other, 'heir')
  await heir.until(3)
  assert.deepEqual(heir.payloads(), numbers(3))
})

test('a group without members keeps what comes for it', { skip }, async t => {
  const [one, other] = await startCluster(t)
  const first = await join(one!, 'a')
  first.client.stream.destroy()
  await closed(first.client)
  await escalate(other!, 3)
  const next = await join(other!, 'b')
  await next.until(3)
  assert.deepEqual(next.payloads(), numbers(3))
})

test('a client that comes to another broker ends its old connection, and its will comes before its return', {
  skip,
}, async t => {
  const [one, other] = await startCluster(t)
  const watcher = await other!.connect(anna)
  const seen = collect(watcher)
  await watcher.subscribeAsync(state, { qos: 1 })
  const will = { topic: state, payload: Buffer.from('gone'), qos: 1 as const, retain: true }
  const options = { clean: false, will }
  const old = await one!.connect(press, options)
  await old.publishAsync(state, 'here', { qos: 1, retain: true })
  const oldCloses = closed(old)
  const back = await other!.connect(press, options)
  await oldCloses
  await back.publishAsync(state, 'back', { qos: 1, retain: true })
  await seen.until(3)
  assert.deepEqual(seen.payloads(), ['here', 'gone', 'back'])
  // And once more to the first, which must not end it for the sake of the second.
  const again = await one!.connect(press, options)
  await again.publishAsync(state, 'again', { qos: 1, retain: true })
  await seen.until(5)
  assert.deepEqual(seen.payloads().slice(3), ['gone', 'again'])
})

test('a connection that ends one to another broker is counted there, and logged once a minute', { skip }, async t => {
  await redis.flush()
  const { lines, logger } = recordLog()
  const [one, other] = [await startBroker(t, { redis: redis.url }), await startBroker(t, { redis: redis.url, logger })]
  for (let i = 0; i < 3; i++) {
    const old = await one.connect(press)
    const oldCloses = closed(old)
    await other.connect(press)
    await oldCloses
  }
  assert.equal(other.broker.counts.takeovers, 3)
  assert.equal(one.broker.counts.takeovers, 2)
  const takeovers = lines.filter(({ msg }) => String(msg).includes('took the place'))
  assert.deepEqual(
    takeovers.map(({ user, clientId, address, formerAddress }) => ({ user, clientId, address, formerAddress })),
    [{ user: press.name, clientId: press.name, address: '127.0.0.1', formerAddress: '127.0.0.1' }],
  )
  // One that has ended its connection itself takes the place of none.
  await (await other.connect(anna)).endAsync()
  await one.connect(anna)
  assert.equal(one.broker.counts.takeovers, 2)
})

test('a client id that somebody else has at another broker is refused', { skip }, async t => {
  const [one, other] = await startCluster(t)
  await one!.connect(anna, { clientId: 'tool' })
  assert.equal(await refusalCode(other!.connect(ben, { clientId: 'tool' })), 5)
})

test('a stored session goes from broker to broker with its subscriptions and messages', { skip }, async t => {
  const [one, other] = await startCluster(t)
  const options = { clientId: `${anna.name}/laptop`, clean: false }
  const first = await one!.connect(anna, options)
  await first.subscribeAsync(['faultline/v1/devices/+/+/state', escalations], { qos: 1 })
  await first.endAsync()
  await escalate(other!, 3)
  await escalate(one!, 3, 3)
  const back = await other!.connect(anna, options)
  const received = collect(back)
  await received.until(6)
  assert.deepEqual(received.payloads(), numbers(6))
})

test('who is revoked is out of every broker, session and all', { skip }, async t => {
  await redis.flush()
  const registry = new Registry(':memory:')
  await registry.start()
  const { secret } = await registry.enroll(press)
  const options = { redis: redis.url, registry }
  const [one, other] = [await startBroker(t, options), await startBroker(t, options)]
  const device = await one.connect(press, { clean: false, password: secret })
  await device.subscribeAsync(verdictFor('press-1'), { qos: 1 })
  const closes = closed(device)
  registry.revoke(press.name)
  await closes
  assert.equal(await refusalCode(other.connect(press, { password: secret })), 4)
  const { sessions } = other.broker.engine!
  const signal = AbortSignal.timeout(30_000)
  while ((await sessions.count()).stored > 0) signal.throwIfAborted()
})

test('a broker says of itself only to its own clients', { skip }, async t => {
  const [one, other] = await startCluster(t)
  const topic = '$SYS/broker/clients/connected'
  for (const [broker, clientId] of [
    [one!, 'a'],
    [other!, 'b'],
  ] as const) {
    const client = await broker.connect(anna, { clientId })
    const seen = collect(client)
    await client.subscribeAsync(topic)
    await seen.until(1)
    assert.equal(seen.payloads()[0], '0')
  }
})

test('without its Redis a broker does not start, and says why', { skip }, async t => {
  await assert.rejects(startBroker(t, { redis: 'redis://127.0.0.1:1' }), { code: 'REDIS_UNREACHABLE' })
})

test('when a broker may have missed what others sent, its clients come back for it', { skip }, async t => {
  const [one, other] = await startCluster(t)
  const options = { clientId: `${anna.name}/laptop`, clean: false }
  const reader = await one!.connect(anna, options)
  await reader.subscribeAsync(escalations, { qos: 1 })
  const closes = closed(reader)
  await redis.dropListeners()
  await closes
  await escalate(other!, 2)
  const received = collect(await one!.connect(anna, options))
  await received.until(2)
  assert.deepEqual(received.payloads(), numbers(2))
})

test('without its Redis a broker acknowledges nothing, says so, and stays', { skip }, async t => {
  const mortal = await startRedis(t)
  const { broker, connect } = await startBroker(t, { redis: mortal.url })
  const device = await connect(press)
  await mortal.kill()
  const closes = closed(device)
  device.publish(escalationOf('press-1'), 'x', { qos: 1 }, error => assert.ok(error, 'acknowledged'))
  await closes
  assert.deepEqual(broker.notReady(), ['Redis cannot be reached'])
  assert.equal(await refusalCode(connect(anna)), 3)
})
