import assert from 'node:assert/strict'
import { testEachStore } from './each-store.ts'
import { anna, collect, flows, press, pump, type TestBroker } from './harness.ts'
import { connectRaw } from './raw-client.ts'

const stem = `faultline/v1/${press.name}`
const inference = `${stem}/points/de/inference`
const command = `${stem}/command`
const stored = { clean: false, clientId: `${anna.name}/tool` }

const loginOf = ({ secrets }: TestBroker) => ({
  username: anna.name,
  password: Buffer.from(secrets.get(anna.name)!),
  ...stored,
})

/** Leaves a session of an operator behind that reads everything. */
async function leaveSession({ connect }: TestBroker): Promise<void> {
  const client = await connect(anna, stored)
  await client.subscribeAsync('faultline/v1/#', { qos: 1 })
  await client.endAsync()
}

/** What the session has waiting: so many messages, and no more. */
async function waiting(broker: TestBroker, count: number): Promise<string[]> {
  const client = await broker.connect(anna, stored)
  const received = collect(client)
  await received.until(count)
  const device = await broker.connect(pump)
  await device.publishAsync(`faultline/v1/${pump.name}/health`, 'end', { qos: 0 })
  await received.until(count + 1)
  await client.endAsync()
  assert.equal(received.payloads().at(-1), 'end')
  return received.payloads().slice(0, -1)
}

testEachStore('a full queue drops its oldest messages and counts them', async start => {
  const broker = await start({ limits: { queuedMessages: 5 } })
  await leaveSession(broker)
  const device = await broker.connect(press)
  for (let i = 0; i < 12; i++) await device.publishAsync(inference, String(i), { qos: 1 })
  assert.equal(broker.broker.counts.dropped['queue-full'], 7)
  assert.deepEqual(await waiting(broker, 5), ['7', '8', '9', '10', '11'])
  // What was delivered and acknowledged makes room again.
  for (let i = 0; i < 5; i++) await device.publishAsync(inference, `new ${i}`, { qos: 1 })
  assert.equal((await waiting(broker, 5))[0], 'new 0')
  assert.equal(broker.broker.counts.dropped['queue-full'], 7)
})

testEachStore('a queue is bounded in bytes too, and one message beyond it costs no other', async start => {
  const broker = await start({ limits: { queuedBytes: 1_000 } })
  await leaveSession(broker)
  const device = await broker.connect(press)
  const payload = (name: string, bytes: number) => name.padEnd(bytes - inference.length, '.')
  for (const name of ['a', 'b', 'c']) await device.publishAsync(inference, payload(name, 400), { qos: 1 })
  assert.equal(broker.broker.counts.dropped['queue-full'], 1)
  await device.publishAsync(inference, payload('too long', 1_001), { qos: 1 })
  assert.equal(broker.broker.counts.dropped['queue-full'], 2)
  assert.deepEqual(
    (await waiting(broker, 2)).map(text => text[0]),
    ['b', 'c'],
  )
})

testEachStore('commands and configuration stay when telemetry is dropped', async start => {
  const broker = await start({ limits: { queuedMessages: 4 } })
  await leaveSession(broker)
  const device = await broker.connect(press)
  const control = await broker.connect(flows)
  await control.publishAsync(command, 'command', { qos: 1 })
  await control.publishAsync(`${stem}/config/desired`, 'configuration', { qos: 1 })
  for (let i = 0; i < 6; i++) await device.publishAsync(inference, String(i), { qos: 1 })
  assert.deepEqual(await waiting(broker, 4), ['command', 'configuration', '4', '5'])
  for (let i = 0; i < 6; i++) await control.publishAsync(command, `command ${i}`, { qos: 1 })
  await device.publishAsync(inference, 'no room', { qos: 1 })
  assert.deepEqual(await waiting(broker, 4), ['command 2', 'command 3', 'command 4', 'command 5'])
})

testEachStore(
  'nothing comes to a session that returns before its CONNACK, and then all of it does',
  async (start, t) => {
    const broker = await start()
    await leaveSession(broker)
    const device = await broker.connect(press)
    const others = await broker.connect(flows)
    const heard = collect(others)
    await others.subscribeAsync('faultline/v1/#', { qos: 1 })
    // Messages are sent while the store takes its time, with the subscriptions of the session renewed already.
    const { persistence } = broker.broker.engine!
    const delWill = persistence.delWill.bind(persistence)
    const slowly: typeof delWill = async session => {
      await device.publishAsync(inference, 'first', { qos: 1 })
      await device.publishAsync(inference, 'second', { qos: 1 })
      await heard.until(2)
      return delWill(session)
    }
    t.mock.method(persistence, 'delWill', slowly, { times: 1 })
    const session = await connectRaw(t, broker.broker.port, loginOf(broker))
    assert.equal((await session.take()).cmd, 'connack') // MQTT 3.1.1, 3.2.0-1
    for (const payload of ['first', 'second']) assert.equal((await session.next('publish')).payload.toString(), payload)
  },
)

testEachStore('a connected session that acknowledges nothing is bounded too, and stays connected', async (start, t) => {
  const broker = await start({ limits: { queuedMessages: 3 } })
  const login = loginOf(broker)
  const deaf = await connectRaw(t, broker.broker.port, login)
  await deaf.next('connack')
  deaf.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'faultline/v1/#', qos: 2 }] })
  await deaf.next('suback')
  const device = await broker.connect(press)
  const first = device.publishAsync(inference, '0', { qos: 2 })
  const publish = await deaf.next('publish')
  await first
  for (let i = 1; i < 8; i++) {
    await device.publishAsync(inference, String(i), { qos: 1 })
    assert.equal((await deaf.next('publish')).payload.toString(), String(i))
  }
  assert.equal(broker.broker.counts.dropped['queue-full'], 5)
  // The message it acknowledges now is dropped already; the handshake goes on all the same (MQTT 3.1.1, 4.3.3).
  deaf.send({ cmd: 'pubrec', messageId: publish.messageId! })
  assert.equal((await deaf.next('pubrel')).messageId, publish.messageId)
  deaf.socket.destroy()
  const again = await connectRaw(t, broker.broker.port, login)
  const payloads = [await again.next('publish'), await again.next('publish'), await again.next('publish')]
  assert.deepEqual(
    payloads.map(({ payload }) => payload.toString()),
    ['5', '6', '7'],
  )
})

testEachStore(
  'a message of QoS 2 that was received waits for its release alone, over a new connection too',
  async (start, t) => {
    const broker = await start()
    const login = loginOf(broker)
    const first = await connectRaw(t, broker.broker.port, login)
    await first.next('connack')
    first.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: inference, qos: 2 }] })
    await first.next('suback')
    const device = await broker.connect(press)
    await device.publishAsync(inference, 'once', { qos: 2 })
    const { messageId } = await first.next('publish')
    first.send({ cmd: 'pubrec', messageId: messageId! })
    await first.next('pubrel')
    first.socket.destroy()
    const second = await connectRaw(t, broker.broker.port, login)
    assert.equal((await second.next('pubrel')).messageId, messageId)
    second.send({ cmd: 'pubcomp', messageId: messageId! })
    await device.publishAsync(inference, 'later', { qos: 1 })
    const later = await second.next('publish')
    assert.equal(later.payload.toString(), 'later')
    second.send({ cmd: 'puback', messageId: later.messageId! })
    second.send({ cmd: 'pingreq' })
    await second.next('pingresp')
    second.socket.destroy()
    const third = await connectRaw(t, broker.broker.port, login)
    await third.next('connack')
    await device.publishAsync(inference, 'last', { qos: 1 })
    assert.equal((await third.next('publish')).payload.toString(), 'last')
  },
)

testEachStore(
  'a session whose client stays away too long ends; that of a connected client does not',
  async (start, t) => {
    const broker = await start({ limits: { absentSessionMs: 400 } })
    const { counts, port } = broker.broker
    const login = loginOf(broker)
    const stays = await connectRaw(t, port, { ...login, clientId: anna.name })
    await stays.next('connack')
    stays.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: inference, qos: 1 }] })
    await stays.next('suback')
    await leaveSession(broker)
    const device = await broker.connect(press)
    await device.publishAsync(inference, 'missed', { qos: 1 })
    const signal = AbortSignal.timeout(30_000)
    while (counts.expiredSessions === 0) {
      signal.throwIfAborted()
      await new Promise(setImmediate)
    }
    const late = await connectRaw(t, port, login)
    assert.equal((await late.next('connack')).sessionPresent, false)
    stays.socket.destroy()
    const again = await connectRaw(t, port, { ...login, clientId: anna.name })
    assert.equal((await again.next('connack')).sessionPresent, true)
    assert.equal((await again.next('publish')).payload.toString(), 'missed')
    assert.equal(counts.expiredSessions, 1)
  },
)

testEachStore('a clean session leaves nothing of the stored one before it', async (start, t) => {
  const broker = await start()
  await leaveSession(broker)
  const device = await broker.connect(press)
  await device.publishAsync(inference, 'stored', { qos: 1 })
  const clean = await broker.connect(anna, { clientId: stored.clientId })
  await clean.endAsync()
  const again = await connectRaw(t, broker.broker.port, loginOf(broker))
  assert.equal((await again.next('connack')).sessionPresent, false)
  again.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: inference, qos: 1 }] })
  await again.next('suback')
  await device.publishAsync(inference, 'new', { qos: 1 })
  assert.equal((await again.next('publish')).payload.toString(), 'new')
})
