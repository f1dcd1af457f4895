import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { generate, type Packet } from 'mqtt-packet'
import { anna, collect, flows, press, refusalCode, startBroker, type TestBroker } from './harness.ts'
import { connectPacket, connectRaw } from './raw-client.ts'

/** Names that are something on every object of JavaScript. */
const inherited = ['__proto__', 'constructor', 'toString', 'hasOwnProperty']

/** A CONNECT of the press, who may publish its own state. */
const loginOf = ({ secrets }: TestBroker, keepalive: number) => ({
  ...connectPacket,
  keepalive,
  clientId: press.name,
  username: press.name,
  password: Buffer.from(secrets.get(press.name)!),
  will: { topic: `faultline/v1/${press.name}/state`, payload: Buffer.from('gone'), qos: 1 as const, retain: false },
})

test('a topic of too many levels ends its connection alone, whatever packet it is in', async t => {
  const test = await startBroker(t)
  const watcher = await test.connect(anna)
  const topic = 'a/'.repeat(500)
  const packets: Packet[] = [
    { cmd: 'publish', topic, payload: 'x', qos: 0, dup: false, retain: true },
    { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos: 1 }] },
    { cmd: 'unsubscribe', messageId: 1, unsubscriptions: [topic] },
  ]
  for (const packet of packets) {
    const raw = await connectRaw(t, test.broker.port, loginOf(test, 0))
    assert.equal((await raw.next('connack')).returnCode, 0)
    raw.send(packet)
    await raw.closed()
  }
  const will = { topic, payload: Buffer.from('gone'), qos: 1 as const, retain: false }
  assert.equal(await refusalCode(test.connect(press, { will })), 5)
  await watcher.subscribeAsync('faultline/v1/#')
})

test('names that every object has are client ids and topics like any other', async t => {
  const { connect, broker } = await startBroker(t)
  for (const name of inherited) {
    for (const options of [{ clientId: name }, { clientId: `${anna.name}/${name}`, clean: false }]) {
      const tool = await connect(anna, options)
      const received = collect(tool)
      await tool.subscribeAsync(`$share/${name}/faultline/v1/#`, { qos: 1 })
      await tool.publishAsync('faultline/v1/devices/constructor/constructor/command', name, { qos: 1 })
      await received.until(1)
      await tool.unsubscribeAsync(`$share/${name}/faultline/v1/#`)
      await tool.endAsync()
    }
  }
  // One that is retained comes back to the one topic it was for.
  const sender = await connect(flows)
  const retained = 'faultline/v1/devices/constructor/constructor/config/desired'
  await sender.publishAsync(retained, 'kept', { qos: 1, retain: true })
  const received = collect(sender)
  await sender.subscribeAsync('faultline/v1/devices/constructor/#', { qos: 1 })
  assert.equal((await received.until(1))[0]?.topic, retained)
  assert.equal(broker.counts.refusedPublishes, 0)
})

test('a half-open connection ends when its keep-alive has run out, and its will is published', async t => {
  const test = await startBroker(t)
  const watcher = await test.connect(anna)
  const received = collect(watcher)
  await watcher.subscribeAsync('faultline/v1/#', { qos: 1 })
  const raw = await connectRaw(t, test.broker.port, loginOf(test, 1))
  await raw.next('connack')
  raw.socket.pause() // It neither reads nor says goodbye, as a machine that lost its power.
  await received.until(1)
  assert.deepEqual(received.payloads(), ['gone'])
  raw.socket.resume()
  await raw.closed()
  // The broker's end may be told after the client's.
  while (test.broker.counts.connected > 1) await nextTurn()
})

test('a CONNECT that comes a byte at a time is not waited for beyond its time', async t => {
  const test = await startBroker(t, { limits: { connectTimeoutMs: 1_000 } })
  const slow = await connectRaw(t, test.broker.port)
  const bytes = generate(loginOf(test, 0))
  let sent = 0
  const drip = setInterval(() => slow.socket.write(bytes.subarray(sent, ++sent)), 20)
  t.after(() => clearInterval(drip))
  await slow.closed()
  assert.ok(sent < bytes.length, 'it was sent whole')
  await test.connect(press)
})

test('a PUBLISH that comes a byte at a time does not keep a connection alive', async t => {
  const test = await startBroker(t)
  const slow = await connectRaw(t, test.broker.port, loginOf(test, 1))
  await slow.next('connack')
  const topic = `faultline/v1/${press.name}/state`
  const bytes = generate({ cmd: 'publish', topic, payload: Buffer.alloc(100_000), qos: 0, dup: false, retain: false })
  let sent = 0
  const drip = setInterval(() => slow.socket.write(bytes.subarray(sent, ++sent)), 50)
  t.after(() => clearInterval(drip))
  await slow.closed()
  assert.ok(sent < bytes.length)
  assert.equal(test.broker.counts.received, 1) // Its will.
})
