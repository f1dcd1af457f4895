import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Broker } from '@faultline/broker'
import { silentLogger, version } from '@faultline/runtime'
import mqtt from 'mqtt'
import { generate } from 'mqtt-packet'
import WebSocket from 'ws'
import { anna, collect, connected, credentials, enrollAll, press, refusalCode, startBroker } from './harness.ts'
import { connectPacket, connectRaw } from './raw-client.ts'

test('a port that is taken is refused with a code, and nothing stays open', async t => {
  const { broker } = await startBroker(t)
  const { registry } = await enrollAll()
  t.after(() => registry.stop())
  const common = { registry, logger: silentLogger }
  await assert.rejects(new Broker({ ...common, port: broker.port }).start(), { code: 'ADDRESS_IN_USE' })
  const half = new Broker({ ...common, port: 0, webSocketPort: broker.port })
  await assert.rejects(half.start(), { code: 'ADDRESS_IN_USE' })
  assert.equal(half.port, 0)
})

test('a broker that stops ends every connection, and starts again where it was', async t => {
  const { registry, secrets } = await enrollAll()
  t.after(() => registry.stop())
  // Longer than the test waits: what says nothing is ended by the stop alone.
  const limits = { connectTimeoutMs: 60_000 }
  const first = new Broker({ port: 0, webSocketPort: 0, registry, logger: silentLogger, limits })
  await first.start()
  const { port, webSocketPort } = first
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { ...credentials(anna, secrets), reconnectPeriod: 0 })
  t.after(() => client.end(true))
  await connected(client)
  const closed = new Promise<void>(resolve => client.once('close', resolve))
  const silent = await connectRaw(t, port)
  const webSocket = new WebSocket(`ws://127.0.0.1:${webSocketPort}`, 'mqtt')
  await once(webSocket, 'open')
  await Promise.all([first.stop(), closed, silent.closed(), once(webSocket, 'close')])
  assert.equal(first.counts.connected, 0)

  const second = new Broker({ port, webSocketPort, registry, logger: silentLogger })
  await second.start()
  t.after(() => second.stop())
  client.reconnect()
  await new Promise<void>(resolve => client.once('connect', () => resolve()))
})

test('a connection that says nothing is ended', async t => {
  const { broker } = await startBroker(t, { limits: { connectTimeoutMs: 100 } })
  const silent = await connectRaw(t, broker.port)
  await silent.closed()
})

test('WebSocket clients have the same rights, on any path', async t => {
  const { broker, secrets } = await startBroker(t, { webSocketPort: 0 })
  const connect = (path: string, options = {}) => {
    const url = `ws://127.0.0.1:${broker.webSocketPort}${path}`
    const client = mqtt.connect(url, { ...credentials(press, secrets), reconnectPeriod: 0, ...options })
    t.after(() => client.end(true))
    return client
  }
  await connected(connect('/mqtt'))
  const device = connect('/')
  await connected(device)
  const refused = await device.subscribeAsync('#').catch((error: { packet: { granted: number[] } }) => error)
  assert.deepEqual('packet' in refused && refused.packet.granted, [128])
  assert.equal(await refusalCode(connected(connect('/mqtt', { password: 'wrong' }))), 4)
})

test('a WebSocket that does not speak MQTT is closed', async t => {
  const { broker, secrets, connect } = await startBroker(t, { webSocketPort: 0 })
  const holder = await connect(anna)
  const url = `ws://127.0.0.1:${broker.webSocketPort}/mqtt`
  const other = new WebSocket(url)
  assert.equal((await once(other, 'close'))[0], 1002)
  const text = new WebSocket(url, 'mqtt')
  await once(text, 'open')
  // Well-formed but for its frame, so that nothing else can be what ends the connection.
  const password = Buffer.from(secrets.get(anna.name)!)
  // This keep-alive makes UTF-8 of the flags before it.
  const login = generate({ ...connectPacket, clientId: anna.name, username: anna.name, password, keepalive: 0x8000 })
  assert.deepEqual(Buffer.from(login.toString()), login)
  text.pause() // It does not answer the close, which would end the connection just as well.
  text.send(login.toString())
  await connect(press)
  text.resume()
  assert.equal((await once(text, 'close', { signal: AbortSignal.timeout(30_000) }))[0], 1003)
  assert.ok(holder.connected, 'the text was read: it logged in with the same client id')
  const answer = await fetch(url.replace('ws:', 'http:'))
  assert.equal(answer.status, 426)
})

test('a WebSocket with malformed frames is ended alone, whether it was taken or is being closed', async t => {
  const { broker, connect } = await startBroker(t, { webSocketPort: 0 })
  const watcher = await connect(anna)
  for (const protocol of ['', 'Sec-WebSocket-Protocol: mqtt\r\n']) {
    const { socket } = await connectRaw(t, broker.webSocketPort)
    socket.removeAllListeners('data')
    socket.write(
      'GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
        `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${protocol}\r\n`,
    )
    const [answer] = await once(socket, 'data')
    assert.match(String(answer), /^HTTP\/1\.1 101/)
    const closed = once(socket, 'close')
    socket.resume()
    socket.end(Buffer.alloc(8, 0xff)) // Reserved bits are set (RFC 6455, 5.2).
    await closed
  }
  await watcher.subscribeAsync('faultline/v1/#')
})

test('a client that breaks the protocol is ended alone', async t => {
  const { broker, connect } = await startBroker(t)
  const watcher = await connect(anna)
  const rubbish = [
    '',
    'GET / HTTP/1.1\r\n\r\n',
    '\u0000\u0000',
    '\u0010\u0002\u0000\u0000',
    '\u0030\u0001x',
    '\u00f0\u0000',
  ]
  for (const text of rubbish.slice(1)) {
    const raw = await connectRaw(t, broker.port)
    raw.socket.write(Buffer.from(text, 'latin1'))
    raw.socket.end()
    await raw.closed()
  }
  // A topic of more levels than are allowed, which would stop Aedes' matcher.
  const deep = await connect(anna, { clientId: 'deep' })
  deep.on('error', () => {})
  const closed = new Promise<void>(resolve => deep.once('close', resolve))
  deep.subscribe('a/'.repeat(200), () => {})
  await closed
  assert.ok(watcher.connected)
  await watcher.subscribeAsync('faultline/v1/#')
})

test('an operator reads about the broker itself below $SYS', async t => {
  const { connect } = await startBroker(t)
  const operator = await connect(anna)
  const received = collect(operator)
  await operator.subscribeAsync('$SYS/broker/#')
  await received.until(16)
  const values = new Map(received.messages.map(({ topic, payload }) => [topic.replace('$SYS/broker/', ''), payload]))
  assert.equal(values.get('version'), `faultline ${version}`)
  assert.match(values.get('uptime') ?? '', /^\d+ seconds$/)
  for (const name of ['clients/connected', 'clients/maximum', 'publish/messages/dropped', 'store/messages/count']) {
    assert.equal(values.get(name), '0', name)
  }
})
