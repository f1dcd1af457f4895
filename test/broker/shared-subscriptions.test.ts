import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { identityOf } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import type { MqttClient } from 'mqtt'
import type { IConnectPacket } from 'mqtt-packet'
import { readFilter } from '../../broker/shared-subscriptions.ts'
import { anna, collect, escalationOf, escalations, press, server, startBroker, type TestBroker } from './harness.ts'
import { connectRaw } from './raw-client.ts'

const group = `$share/servers/${escalations}`

/** Publishes numbered escalations one after the other, each acknowledged. */
async function escalate(broker: TestBroker, count: number, from = 0): Promise<void> {
  const device = await broker.connect(press)
  for (let i = from; i < from + count; i++) {
    await device.publishAsync(escalationOf('press-1'), String(i), { qos: 1 })
  }
  await device.endAsync()
}

async function joinGroup(broker: TestBroker, clientId: string, filter = group, qos: 0 | 1 = 1) {
  const client = await broker.connect(anna, { clientId })
  const received = collect(client)
  await client.subscribeAsync(filter, { qos })
  return { client, ...received }
}

const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => String(from + i))
const sorted = (values: string[]): string[] => values.sort((a, b) => Number(a) - Number(b))

test('the parts of a shared filter', () => {
  assert.deepEqual(readFilter('$share/g/a/+/#'), { group: 'g', filter: 'a/+/#' })
  assert.deepEqual(readFilter('$share/g//'), { group: 'g', filter: '/' })
  assert.deepEqual(readFilter('$shared/g/a'), { filter: '$shared/g/a' })
  assert.deepEqual(readFilter('a/$share/g'), { filter: 'a/$share/g' })
})

test('each message goes to one member of the group, in turn', async t => {
  const broker = await startBroker(t)
  const members = [await joinGroup(broker, 'a'), await joinGroup(broker, 'b'), await joinGroup(broker, 'c')]
  await escalate(broker, 12)
  await Promise.all(members.map(member => member.until(4)))
  assert.deepEqual(sorted(members.flatMap(member => member.payloads())), numbers(12))
  for (const member of members) assert.equal(member.messages.length, 4)
  assert.ok(members.every(member => member.messages.every(({ qos }) => qos === 1)))
})

test('every group gets every message', async t => {
  const broker = await startBroker(t)
  const first = [await joinGroup(broker, 'a'), await joinGroup(broker, 'b')]
  const second = await joinGroup(broker, 'c', `$share/others/${escalations}`)
  // Another filter that matches the same topics is another shared subscription, of whatever group.
  const third = await joinGroup(broker, 'd', '$share/servers/faultline/v1/#')
  await escalate(broker, 6)
  await Promise.all([...first.map(member => member.until(3)), second.until(6), third.until(6)])
  assert.deepEqual(sorted(first.flatMap(member => member.payloads())), numbers(6))
  assert.deepEqual(second.payloads(), numbers(6))
  assert.deepEqual(third.payloads(), numbers(6))
})

test('a member that unsubscribes, disconnects or dies gets no more messages', async t => {
  const broker = await startBroker(t)
  const leave: Record<string, (client: MqttClient) => Promise<unknown>> = {
    unsubscribes: client => client.unsubscribeAsync(group),
    disconnects: client => client.endAsync(),
    dies: async client => {
      const { counts } = broker.broker
      const before = counts.connected
      client.stream.destroy()
      while (counts.connected === before) await new Promise(setImmediate)
    },
  }
  const stays = await joinGroup(broker, 'stays')
  let expected = 0
  for (const [how, go] of Object.entries(leave)) {
    const goes = await joinGroup(broker, how)
    await escalate(broker, 2)
    expected += 1
    await Promise.all([goes.until(1), stays.until(expected)])
    await go(goes.client)
    await escalate(broker, 4)
    expected += 4
    await stays.until(expected)
    assert.equal(goes.messages.length, 1, how)
  }
})

test('the turn stays with whoever had it when another member leaves', async t => {
  const broker = await startBroker(t)
  const first = await joinGroup(broker, 'first')
  const second = await joinGroup(broker, 'second')
  const third = await joinGroup(broker, 'third')
  await escalate(broker, 2)
  await Promise.all([first.until(1), second.until(1)])
  await first.client.unsubscribeAsync(group)
  await escalate(broker, 1, 2)
  await third.until(1)
  assert.deepEqual(second.payloads(), ['1'])
})

test('a group that was empty for a while serves its next member, and the one it had before', async t => {
  const broker = await startBroker(t)
  const member = await joinGroup(broker, 'a')
  await escalate(broker, 5)
  await member.until(5)
  await member.client.unsubscribeAsync(group)
  await escalate(broker, 3, 5) // It waits for the next member.
  await member.client.subscribeAsync(group, { qos: 1 })
  await escalate(broker, 5, 8)
  await member.until(13)
  assert.deepEqual(member.payloads(), numbers(13))
})

test('a member may also subscribe for itself, and gets both', async t => {
  const broker = await startBroker(t)
  const both = await joinGroup(broker, 'both')
  await both.client.subscribeAsync(escalations, { qos: 1 })
  const other = await joinGroup(broker, 'other')
  await escalate(broker, 40)
  await Promise.all([both.until(60), other.until(20)])
  // MQTT 5, 4.8.2: a copy for the ordinary subscription, and another when its turn comes in the group.
  const counts = new Map<string, number>()
  for (const payload of [...both.payloads(), ...other.payloads()]) counts.set(payload, (counts.get(payload) ?? 0) + 1)
  assert.deepEqual([...counts.values()], Array(40).fill(2))
})

test('the QoS is the lower of what was published and what was granted', async t => {
  const broker = await startBroker(t)
  const low = await joinGroup(broker, 'low', group, 0)
  await escalate(broker, 1)
  assert.equal((await low.until(1))[0]?.qos, 0)
  await low.client.subscribeAsync(group, { qos: 1 })
  const device = await broker.connect(press)
  await device.publishAsync(escalationOf('press-1'), 'plain', { qos: 0 })
  await device.publishAsync(escalationOf('press-1'), 'acknowledged', { qos: 1 })
  await low.until(3)
  assert.deepEqual(
    low.messages.map(({ qos }) => qos),
    [0, 0, 1],
  )
})

test('retained messages are not sent to a shared subscription', async t => {
  const broker = await startBroker(t)
  const device = await broker.connect(press)
  const state = `faultline/v1/${press.name}/state`
  await device.publishAsync(state, 'before', { qos: 1, retain: true })
  const member = await joinGroup(broker, 'a', '$share/g/faultline/v1/#')
  await device.publishAsync(state, 'after', { qos: 1, retain: true })
  const [message] = await member.until(1)
  assert.deepEqual(message, { topic: state, payload: 'after', qos: 1, retain: false })
})

test('what the broker says of itself can be shared too', async t => {
  const broker = await startBroker(t)
  const named = await joinGroup(broker, 'a', '$share/g/$SYS/+/new/clients')
  await broker.connect(press)
  const [message] = await named.until(1)
  assert.equal(message?.payload, press.name)
})

test('a stored session that returns is a member again', async t => {
  const broker = await startBroker(t)
  const options = { clean: false }
  const first = await broker.connect(server, options)
  await first.subscribeAsync(group, { qos: 1 })
  await first.endAsync()
  const again = await broker.connect(server, options)
  const received = collect(again)
  await escalate(broker, 20)
  await received.until(20)
  assert.deepEqual(received.payloads(), numbers(20))
  // Everything was acknowledged: nothing is sent again.
  await again.endAsync()
  const once = await broker.connect(server, options)
  const later = collect(once)
  await escalate(broker, 1, 20)
  await later.until(1)
  assert.deepEqual(later.payloads(), ['20'])
})

test('what a stored session did not acknowledge is sent to it again', async t => {
  const broker = await startBroker(t)
  const credentials = {
    clientId: server.name,
    username: server.name,
    password: Buffer.from(broker.secrets.get(server.name)!),
  }
  const deaf = await connectRaw(t, broker.broker.port, { ...credentials, clean: false })
  await deaf.next('connack')
  deaf.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: group, qos: 1 }] })
  assert.deepEqual((await deaf.next('suback')).granted, [1])
  await escalate(broker, 1)
  await deaf.next('publish')
  deaf.socket.destroy()
  const again = await connectRaw(t, broker.broker.port, { ...credentials, clean: false })
  assert.equal((await again.next('publish')).payload.toString(), '0')
})

test('a member that takes nothing more holds up neither the publisher nor the others', async t => {
  // Nothing ends its connection, after which the others would get what it has.
  const broker = await startBroker(t, { limits: { drainTimeoutMs: 600_000, outboundBytes: 100_000_000 } })
  const stuck = await connectRaw(t, broker.broker.port, {
    username: anna.name,
    password: Buffer.from(broker.secrets.get(anna.name)!),
  })
  await stuck.next('connack')
  stuck.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: group, qos: 1 }] })
  await stuck.next('suback')
  stuck.socket.pause()
  const works = await joinGroup(broker, 'works')
  const device = await broker.connect(press)
  // Enough to fill every buffer on the way to the stuck member.
  const payload = Buffer.alloc(500_000)
  for (let i = 0; i < 60; i++) await device.publishAsync(escalationOf('press-1'), payload, { qos: 1 })
  await works.until(31)
  assert.ok(works.messages.length > 30, `${works.messages.length} of 60`)
})

test('many members and many publishers lose nothing', async t => {
  const registry = new Registry(':memory:')
  await registry.start()
  t.after(() => registry.stop())
  const devices = Array.from({ length: 5 }, (_, i) => identityOf('device', 'plant-a', `d-${i}`))
  const identities = [...devices, anna]
  const secrets = new Map<string, string>()
  for (const identity of identities) secrets.set(identity.name, (await registry.enroll(identity)).secret)
  const broker = await startBroker(t, { registry })
  const join = async (clientId: string) => {
    const client = await broker.connect(anna, { clientId, password: secrets.get(anna.name) })
    const received = collect(client)
    await client.subscribeAsync(group, { qos: 1 })
    return received
  }
  const members = await Promise.all(['a', 'b', 'c', 'd'].map(join))
  const expected: string[] = []
  await Promise.all(
    devices.map(async device => {
      const client = await broker.connect(device, { password: secrets.get(device.name) })
      const published = Array.from({ length: 100 }, (_, i) => {
        expected.push(`${device.id}/${i}`)
        return client.publishAsync(escalationOf(device.id), `${device.id}/${i}`, { qos: i % 5 === 0 ? 0 : 1 })
      })
      await Promise.all(published)
    }),
  )
  await Promise.all(members.map(member => member.until(125)))
  assert.deepEqual(members.flatMap(member => member.payloads()).sort(), expected.sort())
})

/** A member that acknowledges nothing. */
async function joinDeaf(t: TestContext, broker: TestBroker, options: Partial<IConnectPacket> = {}, qos: 1 | 2 = 1) {
  const password = Buffer.from(broker.secrets.get(anna.name)!)
  const deaf = await connectRaw(t, broker.broker.port, { username: anna.name, password, ...options })
  await deaf.next('connack')
  deaf.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: group, qos }] })
  await deaf.next('suback')
  return deaf
}

test('what a member that dies has not acknowledged goes to another, once and before what is newer', async t => {
  const broker = await startBroker(t)
  const deaf = await joinDeaf(t, broker)
  await escalate(broker, 5)
  for (let i = 0; i < 5; i++) assert.equal((await deaf.next('publish')).payload.toString(), String(i))
  const other = await joinGroup(broker, 'other')
  deaf.socket.destroy()
  await other.until(5)
  await escalate(broker, 1, 5)
  await other.until(6)
  assert.deepEqual(other.payloads(), numbers(6))
})

test('a member has only so much in flight: the others get what is more, and the rest waits', async t => {
  const broker = await startBroker(t, { limits: { sharedInFlight: 3 } })
  const deaf = await joinDeaf(t, broker)
  await escalate(broker, 10)
  for (let i = 0; i < 3; i++) await deaf.next('publish')
  // The other seven wait for somebody who has time.
  const works = await joinGroup(broker, 'works')
  await works.until(7)
  await escalate(broker, 10, 10)
  await works.until(17)
  assert.deepEqual(works.payloads(), numbers(17, 3))
  // Room again for one: the next message is its turn's.
  deaf.send({ cmd: 'puback', messageId: 0 }) // Of nothing: no harm.
  deaf.socket.destroy()
  await works.until(20)
  assert.deepEqual(sorted(works.payloads()), numbers(20))
})

test('a group that lost its members keeps what comes, within bounds, for those who come back', async t => {
  const broker = await startBroker(t, { limits: { queuedMessages: 4 } })
  const member = await joinGroup(broker, 'a')
  await escalate(broker, 1)
  await member.until(1)
  await member.client.endAsync()
  await escalate(broker, 10, 1)
  assert.equal(broker.broker.counts.dropped['queue-full'], 6)
  const next = await joinGroup(broker, 'b')
  await next.until(4)
  await escalate(broker, 1, 11)
  await next.until(5)
  assert.deepEqual(next.payloads(), numbers(5, 7))
})

test('a group that nobody comes back to ends', async t => {
  const broker = await startBroker(t, { limits: { emptyGroupMs: 200 } })
  const member = await joinGroup(broker, 'a')
  await member.client.endAsync()
  await escalate(broker, 3)
  const { persistence } = broker.broker.engine!
  const signal = AbortSignal.timeout(30_000)
  while (persistence.queued.messages > 0) {
    signal.throwIfAborted()
    await new Promise(setImmediate)
  }
  const late = await joinGroup(broker, 'b')
  await escalate(broker, 1, 3)
  await late.until(1)
  assert.deepEqual(late.payloads(), ['3'])
})

test('a message of QoS 2 is completed to the member it was sent to, and given to nobody else', async t => {
  // MQTT 5, 4.8.2-4 and 4.8.2-5.
  const broker = await startBroker(t)
  const login = { clientId: `${anna.name}/stored`, clean: false }
  const stored = await joinDeaf(t, broker, login, 2)
  const device = await broker.connect(press)
  await device.publishAsync(escalationOf('press-1'), 'exactly once', { qos: 2 })
  const { messageId } = await stored.next('publish')
  const other = await joinGroup(broker, 'other')
  stored.socket.destroy()
  await escalate(broker, 1)
  await other.until(1)
  assert.deepEqual(other.payloads(), ['0'])
  const password = Buffer.from(broker.secrets.get(anna.name)!)
  const again = await connectRaw(t, broker.broker.port, { username: anna.name, password, ...login })
  const repeated = await again.next('publish')
  assert.deepEqual([repeated.messageId, repeated.qos, repeated.payload.toString()], [messageId, 2, 'exactly once'])
})
