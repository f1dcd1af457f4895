import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Identity } from '@faultline/protocol'
import mqtt from 'mqtt'
import { generate } from 'mqtt-packet'
import { anna, ben, collect, connected, enrollAll, press, pump, refusalCode, startBroker } from './harness.ts'
import { connectPacket, connectRaw } from './raw-client.ts'

const serverUnavailable = 3
const badUserNameOrPassword = 4
const notAuthorised = 5

test('a connection without a user name is refused', async t => {
  const { url, broker } = await startBroker(t)
  for (const options of [{}, { username: anna.name }, { username: '', password: '' }]) {
    const client = mqtt.connect(url, { ...options, reconnectPeriod: 0 })
    assert.equal(await refusalCode(connected(client)), notAuthorised)
  }
  assert.equal(broker.counts.refusedLogins, 3)
  assert.equal(broker.counts.connected, 0)
})

test('an enrolled identity with its secret is let in, with another secret it is not', async t => {
  const { connect, broker, secrets } = await startBroker(t)
  await connect(press)
  assert.equal(broker.counts.connected, 1)
  // Right for the second time, from what the broker remembers; then wrong against what it remembers.
  await connect(press)
  for (const password of ['', 'wrong', `${secrets.get(press.name)}x`, secrets.get(pump.name)!]) {
    assert.equal(await refusalCode(connect(press, { password })), badUserNameOrPassword, password)
  }
})

test('an unknown identity is refused as slowly as a wrong secret', async t => {
  const { connect } = await startBroker(t)
  const timed = async (username: string) => {
    const startedAt = performance.now()
    assert.equal(await refusalCode(connect(anna, { username, password: 'wrong' })), badUserNameOrPassword)
    return performance.now() - startedAt
  }
  await timed('operators/nobody')
  // In turn, so that whatever else the machine does bears on both.
  const times: Record<'unknown' | 'wrong', number[]> = { unknown: [], wrong: [] }
  for (let i = 0; i < 7; i++) {
    times.unknown.push(await timed('operators/nobody'))
    times.wrong.push(await timed(anna.name))
  }
  const [unknown, wrong] = [times.unknown, times.wrong].map(list => list.sort((a, b) => a - b)[3]!) as [number, number]
  assert.ok(unknown > wrong / 2 && unknown < wrong * 2, `unknown ${unknown} ms, wrong ${wrong} ms`)
})

test('a flood of guesses is turned away, and does not hold up those who know their secret', async t => {
  const { registry, secrets } = await enrollAll()
  t.after(() => registry.stop())
  const { connect, broker } = await startBroker(t, { registry })
  const guess = (username: string, i: number) =>
    refusalCode(connect(anna, { username, password: `guess ${i}`, clientId: `guess-${i}` }))
  for (const username of ['operators/nobody', anna.name]) {
    const guesses = Array.from({ length: 40 }, (_, i) => guess(username, i))
    // Not yet known to the broker: this login costs a check as well.
    const identity = username === anna.name ? ben : press
    await connect(identity, { password: secrets.get(identity.name) })
    const codes = await Promise.all(guesses)
    assert.ok(codes.includes(badUserNameOrPassword), 'none was checked')
    const turnedAway = codes.filter(code => code === serverUnavailable).length
    assert.ok(turnedAway > 0, 'all were checked')
    assert.equal(codes.filter(code => code === badUserNameOrPassword).length, codes.length - turnedAway)
  }
  assert.equal(broker.counts.connected, 2)
})

test('the tools of one user may all log in at once', async t => {
  const { registry, secrets } = await enrollAll()
  t.after(() => registry.stop())
  const { connect } = await startBroker(t, { registry })
  const password = secrets.get(anna.name)
  await Promise.all(Array.from({ length: 20 }, (_, i) => connect(anna, { clientId: `tool-${i}`, password })))
})

test('a revoked identity is refused, and so is a secret that was replaced', async t => {
  const { registry, secrets } = await enrollAll()
  t.after(() => registry.stop())
  const broker = await startBroker(t, { registry })
  const connect = (identity: Identity, password = secrets.get(identity.name)) => broker.connect(identity, { password })
  for (const identity of [press, anna]) (await connect(identity)).end()
  registry.revoke(press.name)
  const { secret } = await registry.rotate(anna.name)
  assert.equal(await refusalCode(connect(press)), badUserNameOrPassword)
  assert.equal(await refusalCode(connect(anna)), badUserNameOrPassword)
  await connect(anna, secret)
})

test('names that are no names are refused without harm', async t => {
  const { connect } = await startBroker(t)
  for (const username of ['__proto__', 'constructor', "' OR 1=1 --", 'operators/+', 'x'.repeat(60_000), '\u0001']) {
    assert.equal(await refusalCode(connect(anna, { username })), badUserNameOrPassword)
  }
})

test('a registry that fails refuses everybody for now', async t => {
  const failing = {
    credential: () => {
      throw new Error('disk I/O error')
    },
  }
  const { connect } = await startBroker(t, { registry: failing })
  assert.equal(await refusalCode(connect(anna)), serverUnavailable)
})

test('a device has its name as client id, and no other', async t => {
  const { connect } = await startBroker(t)
  await connect(press)
  for (const clientId of ['', 'press-1', pump.name, `${press.name}/2`]) {
    assert.equal(await refusalCode(connect(press, { clientId })), notAuthorised, clientId)
  }
})

test("an operator's tools choose their client ids, but not those of others", async t => {
  const { connect } = await startBroker(t)
  for (const clientId of ['', 'mosq-1234', anna.name, `${anna.name}/laptop`]) await connect(anna, { clientId })
  for (const clientId of [ben.name, press.name, `${anna.name}x/laptop`, 'servers/gpu-1']) {
    assert.equal(await refusalCode(connect(anna, { clientId })), notAuthorised, clientId)
  }
})

test("a stored session of an operator bears the operator's name", async t => {
  const { connect } = await startBroker(t)
  const stored = { clean: false }
  for (const clientId of [anna.name, `${anna.name}/laptop`]) await connect(anna, { clientId, ...stored })
  for (const clientId of ['tool', `${ben.name}/laptop`, `${anna.name}x/laptop`]) {
    assert.equal(await refusalCode(connect(anna, { clientId, ...stored })), notAuthorised, clientId)
  }
})

test('a client id in use is taken over by its own user and by nobody else', async t => {
  const { connect } = await startBroker(t)
  const first = await connect(anna, { clientId: 'tool' })
  assert.equal(await refusalCode(connect(ben, { clientId: 'tool' })), notAuthorised)
  assert.ok(first.connected)
  const closed = new Promise<void>(resolve => first.once('close', resolve))
  const second = await connect(anna, { clientId: 'tool' })
  await closed // MQTT 3.1.1, 3.1.4-2
  await second.endAsync()
  await connect(ben, { clientId: 'tool' })
})

test('a stored session needs a client id', async t => {
  const { broker, secrets } = await startBroker(t)
  const raw = await connectRaw(t, broker.port)
  const password = Buffer.from(secrets.get(anna.name)!)
  const connect = generate({ ...connectPacket, clientId: '', username: anna.name, password })
  connect[9]! &= ~0b10 // The flag of a clean session, which the encoder would not leave out.
  raw.socket.write(connect)
  assert.equal((await raw.next('connack')).returnCode, 2) // MQTT 3.1.1, 3.1.3-8
})

test('a will on a topic of somebody else refuses the connection', async t => {
  const { connect } = await startBroker(t)
  const state = (name: string) => `faultline/v1/${name}/state`
  const will = (topic: string) => ({ will: { topic, payload: Buffer.from('gone'), qos: 1 as const, retain: false } })
  for (const topic of [state(pump.name), '$SYS/broker/version', 'faultline/v1/alarms/plant-a/press/ball', 'x']) {
    assert.equal(await refusalCode(connect(press, will(topic))), notAuthorised, topic)
  }
  const watcher = await connect(anna)
  await watcher.subscribeAsync('faultline/v1/#')
  const received = collect(watcher)
  const device = await connect(press, will(state(press.name)))
  device.stream.destroy()
  const [message] = await received.until(1)
  assert.deepEqual([message?.topic, message?.payload], [state(press.name), 'gone'])
})
