import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import mqtt from 'mqtt'
import { PacketCap } from '../../broker/packet-cap.ts'
import { anna, collect, connected, credentials, flows, startBroker } from './harness.ts'
import { connectRaw } from './raw-client.ts'

const command = 'faultline/v1/devices/plant-a/press-1/command'

/** The fixed header of a PUBLISH whose remaining length is the one given. */
function header(length: number): Buffer {
  const bytes = [0x30]
  do {
    bytes.push((length % 128) | (length >= 128 ? 0x80 : 0))
    length = Math.floor(length / 128)
  } while (length > 0)
  return Buffer.from(bytes)
}

const packet = (length: number): Buffer => Buffer.concat([header(length), Buffer.alloc(length, 0xff)])

test('packets up to the limit pass and the first above it does not, however the stream is cut', () => {
  const limit = 300
  const lengths = fc.array(
    fc.oneof(fc.nat(4), fc.integer({ min: 120, max: 140 }), fc.integer({ min: 290, max: limit })),
  )
  const cuts = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 })
  fc.assert(
    fc.property(lengths, fc.integer({ min: limit + 1, max: 268_435_455 }), cuts, (before, above, sizes) => {
      const good = Buffer.concat(before.map(packet))
      const cap = new PacketCap(limit)
      for (const chunk of pieces(good, sizes)) assert.ok(cap.accepts(chunk))
      // The length is refused by its last byte at the latest: not a byte of the body is needed.
      const refused = pieces(header(above), sizes).some(chunk => !cap.accepts(chunk))
      assert.ok(refused)
    }),
  )
})

test('a length of more than four bytes is none', () => {
  const cap = new PacketCap(268_435_455)
  assert.equal(cap.accepts(Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80])), false)
})

test('a packet announced above the limit ends the connection before its body is sent, logged in or not', async t => {
  const { broker, secrets } = await startBroker(t, { limits: { packetBytes: 1_000 } })
  const stranger = await connectRaw(t, broker.port)
  stranger.socket.write(Buffer.concat([Buffer.from([0x10]), header(1_001).subarray(1)]))
  await stranger.closed()
  const known = await connectRaw(t, broker.port, {
    username: anna.name,
    password: Buffer.from(secrets.get(anna.name)!),
  })
  assert.equal((await known.next('connack')).returnCode, 0)
  known.socket.write(header(1_001))
  await known.closed()
  assert.equal(broker.counts.limited['packet-size'], 2)
})

test('a CONNECT has a limit of its own, as anybody may send one', async t => {
  const { broker, connect } = await startBroker(t)
  const stranger = await connectRaw(t, broker.port)
  stranger.socket.write(Buffer.concat([Buffer.from([0x10]), header(65_537).subarray(1)]))
  await stranger.closed()
  assert.equal(broker.counts.limited['packet-size'], 1)
  const sender = await connect(flows)
  await sender.publishAsync(command, Buffer.alloc(70_000), { qos: 1 })
})

test('a packet of just the limit arrives, over TCP and over WebSocket; others do not notice one above it', async t => {
  const packetBytes = 200_000
  const { broker, connect, secrets } = await startBroker(t, { limits: { packetBytes }, webSocketPort: 0 })
  const watcher = await connect(anna)
  await watcher.subscribeAsync(command)
  const received = collect(watcher)
  // Remaining length of a QoS 1 PUBLISH: topic and its length, packet identifier, payload (MQTT 3.1.1, 3.3).
  const largest = packetBytes - 2 - command.length - 2
  const url = `ws://127.0.0.1:${broker.webSocketPort}/mqtt`
  for (const connectAgain of [
    () => connect(flows),
    async () => {
      const client = mqtt.connect(url, { ...credentials(flows, secrets), reconnectPeriod: 0 })
      t.after(() => client.end(true))
      await connected(client)
      return client
    },
  ]) {
    const sender = await connectAgain()
    await sender.publishAsync(command, Buffer.alloc(largest, 'x'), { qos: 1 })
    const closed = new Promise<void>(resolve => sender.once('close', resolve))
    sender.on('error', () => {})
    sender.publish(command, Buffer.alloc(largest + 1, 'x'), { qos: 1 })
    await closed
  }
  const messages = await received.until(2)
  assert.deepEqual(
    messages.map(({ payload }) => payload.length),
    [largest, largest],
  )
  assert.ok(watcher.connected)
})

function pieces(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const result: Buffer[] = []
  for (let start = 0, i = 0; start < bytes.length; i++) {
    const end = start + sizes[i % sizes.length]!
    result.push(bytes.subarray(start, end))
    start = end
  }
  return result
}
