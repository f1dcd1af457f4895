import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Identity } from '@faultline/protocol'
import { createLogger } from '@faultline/runtime'
import mqtt from 'mqtt'
import { generate } from 'mqtt-packet'
import { endOverlap, fixedRegistry } from '../support/registry.ts'
import { temporaryDirectory } from '../support/temp.ts'
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

test('an unknown identity takes as much of the processor as a wrong secret', async t => {
  const { connect } = await startBroker(t)
  const timed = async (username: string) => {
    // What this process works, however long it has to wait for its turn.
    const before = process.cpuUsage()
    assert.equal(await refusalCode(connect(anna, { username, password: 'wrong' })), badUserNameOrPassword)
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1_000
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
  const { connect, broker } = await startBroker(t, { registry, limits: { failedLogins: 1_000 } })
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

test('a revocation ends connections within a second, sessions too, and for good', async t => {
  const { registry, secrets } = await enrollAll()
  t.after(() => registry.stop())
  const { connect, broker } = await startBroker(t, { registry })
  const password = (identity: Identity) => ({ password: secrets.get(identity.name) })
  const watcher = await connect(ben, password(ben))
  const wills = collect(watcher)
  await watcher.subscribeAsync(`faultline/v1/${press.name}/state`)
  const will = {
    topic: `faultline/v1/${press.name}/state`,
    payload: Buffer.from('gone'),
    qos: 1,
    retain: false,
  } as const
  const device = await connect(press, { ...password(press), clean: false, will })
  await device.subscribeAsync(`faultline/v1/${press.name}/command`, { qos: 1 })
  const tool = { ...password(anna), clientId: `${anna.name}/tool`, clean: false }
  const sleeping = await connect(anna, tool)
  await sleeping.subscribeAsync('faultline/v1/#', { qos: 1 })
  await sleeping.endAsync()
  const bystander = await connect(pump, password(pump))

  const closed = new Promise<void>(resolve => device.once('close', resolve))
  for (const { name } of [press, anna]) registry.revoke(name)
  await closed
  assert.equal(await refusalCode(connect(press, password(press))), badUserNameOrPassword)
  await wills.until(1) // Others learn that it is gone.
  assert.ok(bystander.connected && watcher.connected)
  assert.equal(broker.counts.revokedConnections, 1)
  assert.equal(broker.counts.expiredSessions, 2)

  // A new life under the old name begins with nothing.
  for (const [identity, clientId] of [
    [press, press.name],
    [anna, tool.clientId],
  ] as const) {
    const { secret } = await registry.enroll(identity)
    const raw = await connectRaw(t, broker.port, {
      username: identity.name,
      password: Buffer.from(secret),
      clientId,
      clean: false,
    })
    assert.equal((await raw.next('connack')).sessionPresent, false)
  }
})

test('a secret that is replaced ends the connections made with it', async t => {
  const { registry, secrets } = await enrollAll()
  t.after(() => registry.stop())
  const { connect } = await startBroker(t, { registry })
  const client = await connect(anna, { password: secrets.get(anna.name) })
  const closed = new Promise<void>(resolve => client.once('close', resolve))
  const { secret } = await registry.rotate(anna.name)
  await closed
  await connect(anna, { password: secret })
})

test('while a rotation overlaps both secrets are let in; at its end connections by the old one end', async t => {
  const { registry, secrets } = await enrollAll()
  t.after(() => registry.stop())
  const { connect } = await startBroker(t, { registry })
  const old = { password: secrets.get(anna.name) }
  const { secret } = await registry.rotate(anna.name, { overlapMs: 60_000 })
  const former = await connect(anna, { ...old, clientId: 'a' })
  const ended = new Promise<void>(resolve => former.once('close', () => resolve()))
  const current = await connect(anna, { password: secret })
  assert.equal(await refusalCode(connect(anna, { password: 'neither', clientId: 'b' })), badUserNameOrPassword)
  endOverlap(registry, 100)
  await ended
  assert.ok(current.connected)
  assert.equal(await refusalCode(connect(anna, { ...old, clientId: 'a' })), badUserNameOrPassword)
})

test('who has no secret is let in by none', async t => {
  const { registry, secrets } = await enrollAll()
  t.after(() => registry.stop())
  await registry.reEnroll(press.name, { kind: 'claim', validMs: 60_000 })
  const { connect } = await startBroker(t, { registry })
  for (const password of ['', secrets.get(press.name)]) {
    assert.equal(await refusalCode(connect(press, { password })), badUserNameOrPassword)
  }
})

test('a login that was being checked when its identity was revoked is refused', async t => {
  const { registry, secrets } = await enrollAll()
  t.after(() => registry.stop())
  let revoke = () => {}
  const racing = {
    credential: (name: string) => {
      const found = registry.credential(name)
      revoke() // The check that follows takes tens of milliseconds.
      return found
    },
    certificate: () => undefined,
    version: () => registry.version(),
  }
  const { connect } = await startBroker(t, { registry: racing })
  revoke = () => {
    revoke = () => {}
    registry.revoke(press.name)
  }
  assert.equal(await refusalCode(connect(press, { password: secrets.get(press.name) })), badUserNameOrPassword)
})

test('an address that fails too often has to wait, but those it let in before come back', async t => {
  const { registry, secrets } = await enrollAll()
  t.after(() => registry.stop())
  const { connect } = await startBroker(t, { registry, limits: { failedLogins: 3 } })
  const password = (identity: Identity) => ({ password: secrets.get(identity.name) })
  await connect(press, password(press))
  for (let i = 0; i < 3; i++) {
    assert.equal(await refusalCode(connect(anna, { password: `guess ${i}` })), badUserNameOrPassword)
  }
  // The right secret of a name that the broker has not seen yet is a guess like any other now.
  assert.equal(await refusalCode(connect(anna, password(anna))), serverUnavailable)
  assert.equal(await refusalCode(connect(anna, { username: 'operators/nobody', password: 'x' })), serverUnavailable)
  await connect(press, password(press))
})

test('no secret reaches the log, whatever happens to it', async t => {
  const { registry, secrets } = await enrollAll()
  t.after(() => registry.stop())
  const file = join(await temporaryDirectory(t), 'broker.log')
  const { connect, broker } = await startBroker(t, {
    registry,
    logger: createLogger('broker', { level: 'trace', file }),
  })
  const secret = secrets.get(anna.name)!
  await connect(anna, { password: secret })
  const wrong = 'a-wrong-secret-of-anna'
  for (const options of [
    { password: wrong },
    { username: secret, password: wrong }, // Some tools take them the other way round.
    { username: wrong, password: secret },
    { password: secret, clientId: press.name },
  ]) {
    await assert.rejects(connect(anna, options))
  }
  const raw = await connectRaw(t, broker.port)
  raw.socket.write(
    Buffer.concat([
      generate({ ...connectPacket, username: anna.name, password: Buffer.from(secret) }),
      Buffer.from([0xf0, 1, 0]),
    ]),
  )
  await raw.closed()
  await broker.stop()
  const log = await readFile(file, 'utf8')
  assert.ok(log.split('\n').length > 5, log)
  assert.ok(!log.includes(secret) && !log.includes(wrong), log)
})

test('names that are no names are refused without harm', async t => {
  const { connect } = await startBroker(t)
  for (const username of ['__proto__', 'constructor', "' OR 1=1 --", 'operators/+', 'x'.repeat(60_000), '\u0001']) {
    assert.equal(await refusalCode(connect(anna, { username })), badUserNameOrPassword)
  }
})

test('a registry that fails refuses everybody for now', async t => {
  const failing = fixedRegistry(() => {
    throw new Error('disk I/O error')
  })
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
