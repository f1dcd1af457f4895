import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect as connectSocket, type Socket } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { defaultLimits } from '@faultline/broker'
import { generate, type IPublishPacket } from 'mqtt-packet'
import { RateLimit } from '../../broker/rate-limit.ts'
import { root } from '../support/processes.ts'
import { anna, ben, collect, press, pump, refusalCode, startBroker, type TestBroker } from './harness.ts'
import { connectRaw } from './raw-client.ts'

const healthOf = ({ name }: { name: string }) => `faultline/v1/${name}/health`
const inferenceOf = ({ name }: { name: string }) => `faultline/v1/${name}/points/de/inference`

/** Waits, without a fixed time, until something has come about. */
async function until(condition: () => boolean): Promise<void> {
  const signal = AbortSignal.timeout(30_000)
  while (!condition()) {
    signal.throwIfAborted()
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

/** Others can connect, publish and be heard, whatever somebody does. */
async function assertUnhurt(broker: TestBroker): Promise<void> {
  const watcher = await broker.connect(ben)
  const received = collect(watcher)
  await watcher.subscribeAsync(inferenceOf(pump), { qos: 1 })
  const device = await broker.connect(pump)
  for (let i = 0; i < 20; i++) await device.publishAsync(inferenceOf(pump), String(i), { qos: 1 })
  await received.until(20)
  await Promise.all([watcher.endAsync(), device.endAsync()])
}

async function openFrom(t: TestContext, port: number, localAddress: string): Promise<Socket> {
  const socket = connectSocket({ port, host: '127.0.0.1', localAddress })
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  socket.resume()
  await once(socket, 'connect')
  return socket
}

/** Logged in, and then silent as to what it is sent. */
async function joinRaw(t: TestContext, broker: TestBroker, topic: string, qos: 0 | 1, options = {}) {
  const password = Buffer.from(broker.secrets.get(anna.name)!)
  const raw = await connectRaw(t, broker.broker.port, { username: anna.name, password, ...options })
  await raw.next('connack')
  raw.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos }] })
  await raw.next('suback')
  return raw
}

test('an address has so many connections, and no more; another address has its own', async t => {
  const { broker, connect } = await startBroker(t, { limits: { connectionsPerAddress: 3 } })
  const open = await Promise.all([1, 2, 3].map(() => openFrom(t, broker.port, '127.0.0.1')))
  const fourth = await openFrom(t, broker.port, '127.0.0.1')
  if (!fourth.closed) await once(fourth, 'close')
  assert.equal(broker.counts.limited.connections, 1)
  const other = await openFrom(t, broker.port, '127.0.0.2')
  assert.ok(open.every(socket => !socket.closed) && !other.closed)
  open[0]!.destroy()
  // Until the broker has noticed, there is no room.
  const signal = AbortSignal.timeout(30_000)
  while (!(await connect(anna).catch(() => undefined))) signal.throwIfAborted()
})

test('there are so many connections in all, and no more', async t => {
  const { broker } = await startBroker(t, { limits: { connections: 2 } })
  const first = await openFrom(t, broker.port, '127.0.0.1')
  await openFrom(t, broker.port, '127.0.0.2')
  const third = await openFrom(t, broker.port, '127.0.0.3')
  if (!third.closed) await once(third, 'close')
  assert.ok(!first.closed)
  assert.equal(broker.counts.limited.connections, 1)
})

test('a client that publishes too fast is held back, loses nothing and hurts nobody', async t => {
  const test = await startBroker(t, { limits: { messagesPerSecond: 200 } })
  const { connect, broker } = test
  const watcher = await connect(anna)
  const received = collect(watcher)
  await watcher.subscribeAsync(inferenceOf(press), { qos: 1 })
  const device = await connect(press)
  const startedAt = performance.now()
  let sent = 0
  const publish = () => device.publishAsync(inferenceOf(press), String(sent++).padEnd(2_000), { qos: 1 })
  const publishMany = () => Promise.all(Array.from({ length: 500 }, publish))
  const others = assertUnhurt(test).then(() => true)
  // As fast as it can, for as long as the others need.
  do await publishMany()
  while (!(await Promise.race([others, false])))
  const tookMs = performance.now() - startedAt
  // 200 at once, the others at 200 a second; what stands in one chunk of the connection is taken together.
  assert.ok(tookMs > (sent - 300) * 5, `${sent} in ${tookMs} ms`)
  assert.ok(broker.counts.heldBack > 0)
  await received.until(sent)
  assert.ok(device.connected)
  assert.equal(broker.counts.limited.rate, 0)
})

test('so is one that sends too many bytes', async t => {
  const { connect, broker } = await startBroker(t, { limits: { bytesPerSecond: 200_000 } })
  const device = await connect(press)
  const startedAt = performance.now()
  for (let i = 0; i < 10; i++) await device.publishAsync(inferenceOf(press), Buffer.alloc(50_000), { qos: 1 })
  const tookMs = performance.now() - startedAt
  assert.ok(tookMs > 1_000, `${tookMs} ms`)
  assert.ok(broker.counts.heldBack > 0)
})

test('a client that does not let itself be held back is disconnected', async t => {
  const test = await startBroker(t, { limits: { messagesPerSecond: 100, heldBackMs: 300 } })
  const { broker, secrets } = test
  const flood = await connectRaw(t, broker.port, {
    clientId: press.name,
    username: press.name,
    password: Buffer.from(secrets.get(press.name)!),
  })
  await flood.next('connack')
  const packet = generate({
    cmd: 'publish',
    topic: healthOf(press),
    payload: 'x',
    qos: 0,
    dup: false,
    retain: false,
  } as IPublishPacket)
  const burst = Buffer.concat(Array<Buffer>(1_000).fill(packet))
  const pour = () => {
    while (!flood.socket.destroyed && flood.socket.write(burst));
  }
  flood.socket.on('drain', pour)
  pour()
  await until(() => flood.socket.closed)
  assert.equal(broker.counts.limited.rate, 1)
  await assertUnhurt(test)
})

test('after a pause the grace begins anew', t => {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const rate = new RateLimit({ messagesPerSecond: 10, bytesPerSecond: 1_000, heldBackMs: 5_000 })
  for (let i = 0; i < 20; i++) {
    rate.took(20, 100)
    assert.ok(rate.waitMs() > 0)
    assert.ok(rate.graceMs > 0)
    now += 3_000
    assert.equal(rate.waitMs(), 0)
  }
  for (let i = 0; i < 6; i++) {
    rate.took(20, 100)
    rate.waitMs()
    now += 1_000
  }
  assert.ok(rate.waitMs() > 0)
  assert.equal(rate.graceMs, 0)
})

test('a client has so many subscriptions; one that goes makes room', async t => {
  const test = await startBroker(t, { limits: { subscriptionsPerClient: 3 } })
  const { connect, broker } = test
  const options = { clean: false, clientId: anna.name }
  const client = await connect(anna, options)
  const filters = ['a', 'b', 'c', 'd'].map(device => `faultline/v1/devices/s/${device}/health`)
  const error = await client.subscribeAsync(filters, { qos: 1 }).then(
    () => assert.fail('all granted'),
    (thrown: { packet: { granted: number[] } }) => thrown,
  )
  assert.deepEqual(error.packet.granted, [1, 1, 1, 128])
  await client.subscribeAsync(filters[0]!, { qos: 0 }) // One it has already.
  assert.equal(broker.counts.limited.subscriptions, 1)
  await client.unsubscribeAsync(filters[0]!)
  await client.subscribeAsync(filters[3]!, { qos: 1 })
  await client.endAsync()
  const again = await connect(anna, options) // All that it had are there, and it is full.
  await assert.rejects(again.subscribeAsync(filters[0]!, { qos: 1 }))
  await assertUnhurt(test)
})

test('an identity has so many stored sessions', async t => {
  const { connect } = await startBroker(t, { limits: { sessionsPerIdentity: 2 } })
  const leave = async (name: string) => {
    const client = await connect(anna, { clientId: `${anna.name}/${name}`, clean: false })
    await client.subscribeAsync('faultline/v1/#', { qos: 1 })
    await client.endAsync()
  }
  await leave('a')
  await leave('b')
  assert.equal(await refusalCode(leave('c')), 3)
  await leave('a') // One that is there already.
  const clean = await connect(anna, { clientId: `${anna.name}/a` }) // Ends the stored one.
  await clean.endAsync()
  await leave('c')
  await connect(ben, { clientId: ben.name, clean: false })
})

test('who asks for no keep-alive, or a very long one, has that of the broker', async t => {
  const test = await startBroker(t, { limits: { keepAliveS: 1 } })
  for (const keepalive of [0, 60_000]) {
    const silent = await joinRaw(t, test, 'faultline/v1/#', 0, { keepalive })
    const since = performance.now()
    await silent.closed()
    assert.ok(performance.now() - since > 1_000) // One and a half times (MQTT 3.1.1, 3.1.2-24).
  }
})

test('a client that reads nothing misses QoS 0, and nobody else does', async t => {
  const test = await startBroker(t, { limits: { outboundBytes: 2_000_000, messagesPerSecond: 100_000 } })
  const { connect, broker } = test
  const stuck = await joinRaw(t, test, healthOf(press), 0)
  stuck.socket.pause()
  const watcher = await connect(ben)
  const received = collect(watcher)
  await watcher.subscribeAsync(healthOf(press))
  const device = await connect(press)
  const payload = Buffer.alloc(100_000)
  for (let i = 0; i < 300; i++) {
    await device.publishAsync(healthOf(press), payload, { qos: 0 })
    if (i % 10 === 9) await received.until(i + 1) // It keeps up; the other one's buffers are full after a few.
  }
  assert.ok(broker.counts.dropped['slow-consumer'] > 0)
  assert.equal(broker.counts.limited['slow-consumer'], 0)
  assert.equal(received.messages.length, 300)
  await assertUnhurt(test)
  // What it has not missed is whole: it reads on and goes on.
  stuck.socket.resume()
  stuck.send({ cmd: 'pingreq' })
  await stuck.next('pingresp')
})

test('a client that does not read QoS 1 is disconnected, and finds it in its stored session', async t => {
  const test = await startBroker(t, { limits: { outboundBytes: 2_000_000 } })
  const { connect, broker } = test
  const options = { clientId: `${anna.name}/slow`, clean: false }
  const stuck = await joinRaw(t, test, inferenceOf(press), 1, options)
  stuck.socket.pause()
  const device = await connect(press)
  const payload = (i: number) => String(i).padEnd(100_000)
  for (let i = 0; i < 200; i++) await device.publishAsync(inferenceOf(press), payload(i), { qos: 1 })
  assert.equal(broker.counts.limited['slow-consumer'], 1)
  await assertUnhurt(test)
  const again = await connect(anna, options)
  const received = collect(again)
  await received.until(200)
  assert.deepEqual(
    received.payloads().map(Number),
    Array.from({ length: 200 }, (_, i) => i),
  )
})

test('retained messages beyond the bound reach a new subscriber that reads', async t => {
  const { connect, broker } = await startBroker(t, { limits: { outboundBytes: 50_000 } })
  const device = await connect(press)
  const control = await connect(anna)
  for (const kind of ['state', 'config/reported']) {
    await device.publishAsync(`faultline/v1/${press.name}/${kind}`, Buffer.alloc(90_000), { qos: 1, retain: true })
  }
  await control.publishAsync(`faultline/v1/${press.name}/config/desired`, Buffer.alloc(90_000), {
    qos: 1,
    retain: true,
  })
  const received = collect(control)
  await control.subscribeAsync('faultline/v1/#', { qos: 1 })
  await received.until(3)
  assert.equal(broker.counts.limited['slow-consumer'], 0)
})

test('a message that is overtaken by another is no duplicate', async t => {
  // Aedes, https://github.com/moscajs/aedes/issues/994: QoS 0 is emitted before the QoS 1 in front of it.
  const { connect, broker, secrets } = await startBroker(t)
  const watcher = await connect(anna)
  const received = collect(watcher)
  await watcher.subscribeAsync(['faultline/v1/#', `faultline/v1/${press.name}/#`], { qos: 1 })
  const raw = await connectRaw(t, broker.port, {
    clientId: press.name,
    username: press.name,
    password: Buffer.from(secrets.get(press.name)!),
  })
  await raw.next('connack')
  const rest = { cmd: 'publish', dup: false, retain: false } as const
  const packets: Buffer[] = []
  for (let i = 1; i <= 50; i++) {
    packets.push(generate({ ...rest, topic: inferenceOf(press), payload: `${i} first`, qos: 1, messageId: i }))
    packets.push(generate({ ...rest, topic: healthOf(press), payload: `${i} second`, qos: 0 }))
  }
  raw.socket.write(Buffer.concat(packets))
  await received.until(100)
  assert.equal(new Set(received.payloads()).size, 100)
  assert.equal(received.messages.length, 100)
})

test('the guide names every limit', async () => {
  const guide = await readFile(join(root, 'docs/guides/broker.md'), 'utf8')
  for (const name of Object.keys(defaultLimits)) assert.ok(guide.includes(`\`${name}\``), name)
})
