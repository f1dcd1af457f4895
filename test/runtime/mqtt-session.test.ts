import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { createServer, Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import {
  encodePayload,
  examples,
  FaultlineError,
  identityOf,
  type Message,
  topicFilter,
  topicOf,
} from '@faultline/protocol'
import { HeldMessage, MqttSession, type MqttSessionOptions, silentLogger } from '@faultline/runtime'
import { logFile } from '../support/log-file.ts'
import { TestBroker } from './test-broker.ts'

const identity = identityOf('device', 'plant-a', 'press-3')
const { inference, health, verdict, state } = examples
const stateTopic = topicOf(state.address)
const verdicts = topicFilter('verdict', { site: 'plant-a', device: 'press-3' })
const commands = topicFilter('command', { site: 'plant-a', device: 'press-3' })

async function startBroker(t: TestContext): Promise<TestBroker> {
  const broker = new TestBroker()
  await broker.start()
  t.after(() => broker.stop())
  return broker
}

/** A session that stops with the test, with what it received; not started yet. */
function newSession(t: TestContext, broker: { url: string }, options: Partial<MqttSessionOptions> = {}) {
  const received: Message[] = []
  const arrivals = new EventEmitter()
  const session = new MqttSession({
    url: broker.url,
    identity,
    secret: 'secret',
    subscriptions: [verdicts],
    onMessage: message => {
      received.push(message)
      arrivals.emit('message')
    },
    logger: silentLogger,
    backOff: { initialMs: 20, maximumMs: 200 },
    ...options,
  })
  t.after(() => session.stop())
  return { session, received, arrival: () => once(arrivals, 'message', { signal: AbortSignal.timeout(30_000) }) }
}

const soon = (): AbortSignal => AbortSignal.timeout(30_000)
const problem = async (session: MqttSession): Promise<FaultlineError> =>
  ((await once(session, 'problem', { signal: soon() })) as [FaultlineError])[0]

async function online(t: TestContext, broker: TestBroker, options: Partial<MqttSessionOptions> = {}) {
  const made = newSession(t, broker, options)
  await made.session.start()
  await made.session.whenOnline(soon())
  return made
}

/** Waits until a condition of the broker holds; it has no event for it. */
async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!condition()) {
    assert.ok(performance.now() < deadline, `did not happen: ${condition}`)
    await delay(5)
  }
}

/** The pauses before attempts to connect, as MQTT.js makes them. Measured times would depend on what else the machine does. */
function pausesOf(t: TestContext): number[] {
  const pauses: number[] = []
  const { setInterval } = globalThis
  t.mock.method(globalThis, 'setInterval', (work: () => void, ms = 0) => {
    if (new Error().stack?.includes('_setupReconnect')) pauses.push(ms)
    return setInterval(work, ms)
  })
  return pauses
}

test('a message is delivered typed and checked', async t => {
  const broker = await startBroker(t)
  const { received, arrival } = await online(t, broker)
  const arrived = arrival()
  broker.publish(topicOf(verdict.address), encodePayload('verdict', verdict.payload))
  await arrived
  assert.deepEqual(received, [{ kind: 'verdict', ...verdict }])
})

test('a message is published with the QoS and retain flag of its kind', async t => {
  const broker = await startBroker(t)
  const { session } = await online(t, broker)
  await session.publish(inference.address, inference.payload)
  await session.publish(state.address, state.payload)
  await session.publish(health.address, health.payload)
  await until(() => broker.published.length === 3)
  assert.deepEqual(
    broker.published.map(({ topic, qos, retain }) => ({ topic, qos, retain })),
    [
      { topic: topicOf(inference.address), qos: 1, retain: false },
      { topic: stateTopic, qos: 1, retain: true },
      { topic: topicOf(health.address), qos: 0, retain: false },
    ],
  )
  assert.equal(
    session.bytes.sent,
    broker.published.reduce((sum, { topic, payload }) => sum + topic.length + payload.length, 0),
  )
})

test('publishing resolves with the acknowledgement, not before', async t => {
  const broker = await startBroker(t)
  broker.acknowledgeAfterMs = 150
  const { session } = await online(t, broker)
  const started = performance.now()
  await session.publish(inference.address, inference.payload)
  assert.ok(performance.now() - started >= 140)
})

test('what receivers would refuse is not published', async t => {
  const broker = await startBroker(t)
  const { session } = await online(t, broker)
  await assert.rejects(session.publish(inference.address, { ...inference.payload, latencyMs: Number.NaN }), {
    code: 'MESSAGE_INVALID',
  })
  assert.equal(session.bytes.sent, 0)
})

test('a session reconnects and subscribes again when the broker goes away and comes back', async t => {
  const broker = await startBroker(t)
  const { session, received, arrival } = await online(t, broker)
  const offline = once(session, 'offline', { signal: soon() })
  await broker.stop()
  await offline
  assert.equal(session.online, false)
  assert.equal((await problem(session)).code, 'BROKER_UNREACHABLE')
  await broker.start()
  await session.whenOnline(soon())
  const arrived = arrival()
  broker.publish(topicOf(verdict.address), encodePayload('verdict', verdict.payload))
  await arrived
  assert.equal(received.length, 1)
})

test('the sessions of a fleet that lost its broker try again at different moments', async t => {
  const backOff = { initialMs: 40_000, maximumMs: 40_000 }
  const pauses = pausesOf(t)
  for (let i = 0; i < 20; i++) {
    const { session } = newSession(t, { url: 'mqtt://127.0.0.1:1' }, { backOff })
    await session.start()
    await problem(session)
  }
  await until(() => pauses.length === 20)
  assert.ok(new Set(pauses).size > 15, `pauses of ${pauses} ms`)
  assert.ok(Math.min(...pauses) >= backOff.initialMs / 2, `a pause of ${Math.min(...pauses)} ms`)
})

test('after a long absence the first pause is short again', async t => {
  const broker = await startBroker(t)
  const pauses = pausesOf(t)
  const { session } = await online(t, broker, { backOff: { initialMs: 20, maximumMs: 2_000 } })
  await broker.stop()
  for (let attempt = 0; attempt < 5; attempt++) await problem(session)
  await broker.start()
  await session.whenOnline(soon())
  assert.ok(pauses.at(-1)! > 100, `pauses of ${pauses} ms`)
  const offline = once(session, 'offline', { signal: soon() })
  broker.breakConnections()
  await offline
  await session.whenOnline(soon())
  // A connection that was cut short doubles it once.
  assert.ok(pauses.at(-1)! <= 40, `pauses of ${pauses} ms`)
})

test('what is published offline with QoS 1 arrives in order after the reconnection', async t => {
  const broker = await startBroker(t)
  const { session } = await online(t, broker)
  const offline = once(session, 'offline', { signal: soon() })
  await broker.stop()
  await offline
  const ids = ['a', 'b', 'c', 'd']
  const published = Promise.all(ids.map(id => session.publish(inference.address, { ...inference.payload, id })))
  await assert.rejects(session.publish(health.address, health.payload), { code: 'BROKER_UNREACHABLE' })
  await broker.start()
  await published
  assert.deepEqual(
    broker.published.map(({ payload }) => JSON.parse(payload).id),
    ids,
  )
})

test('what is published before the first connection arrives too', async t => {
  const broker = await startBroker(t)
  const { session } = newSession(t, broker)
  await session.start()
  await session.publish(inference.address, inference.payload)
  assert.equal(broker.published.length, 1)
})

test('a payload that is not of the contract is reported and the next one still arrives', async t => {
  const broker = await startBroker(t)
  const { session, received, arrival } = await online(t, broker, { subscriptions: ['#'] })
  const refusals: [string, string, string][] = []
  session.on('refused', (error, topic, payload) => refusals.push([error.code, topic, payload.toString()]))
  const topic = topicOf(verdict.address)
  const arrived = arrival()
  broker.publish(topic, '{')
  broker.publish(topic, '{"id":1}')
  broker.publish(topic, '') // A retained message was cleared: nothing to report.
  broker.publish(topic, encodePayload('verdict', verdict.payload))
  await arrived
  assert.deepEqual(refusals, [
    ['MESSAGE_MALFORMED', topic, '{'],
    ['MESSAGE_INVALID', topic, '{"id":1}'],
  ])
  assert.equal(received.length, 1)
  assert.ok(session.online)
})

test('messages of kinds that only a later contract knows are counted, and are no errors', async t => {
  const broker = await startBroker(t)
  const { session, received, arrival } = await online(t, broker, { subscriptions: ['#'] })
  session.on('refused', error => assert.fail(error.message))
  const arrived = arrival()
  for (const topic of ['another/topic', 'faultline/v1/devices/plant-a/press-3/novelty']) broker.publish(topic, '{}')
  broker.publish(topicOf(verdict.address), encodePayload('verdict', verdict.payload))
  await arrived
  assert.equal(received.length, 1)
  assert.equal(session.unknownMessages, 2)
})

test('a handler that throws or rejects is reported and the session goes on', async t => {
  const broker = await startBroker(t)
  const failures = [
    () => {
      throw new TypeError('at once')
    },
    () => Promise.reject(new TypeError('later')),
  ]
  const { session } = await online(t, broker, { onMessage: () => failures.shift()?.() })
  for (const message of ['at once', 'later']) {
    const refused = once(session, 'refused', { signal: soon() })
    broker.publish(topicOf(verdict.address), encodePayload('verdict', verdict.payload))
    const [error] = (await refused) as [FaultlineError]
    assert.deepEqual([error.code, error.message], ['INTERNAL', message])
  }
  await session.publish(inference.address, inference.payload)
})

for (const [what, fails] of [
  ['rejects', () => Promise.reject(new HeldMessage(new FaultlineError('DATABASE_FAILED', 'full')))],
  ['hangs', () => new Promise<void>(() => {})],
] as const) {
  test(`a session that waits for its handler gets a message again on which it ${what}, and those behind it in order`, async t => {
    const broker = await startBroker(t)
    const handled: string[] = []
    let arrive = () => {}
    const arrived = new Promise<void>(resolve => {
      arrive = resolve
    })
    let attempts = 0
    await online(t, broker, {
      clean: false,
      awaitsHandling: true,
      maxHandlingMs: 200,
      onMessage: async ({ payload }) => {
        const { id } = payload as { id: string }
        if (id === 'w-0' && attempts++ < 2) return fails()
        handled.push(id)
        if (handled.length === 3) arrive()
      },
    })
    for (const id of ['w-0', 'w-1', 'w-2'])
      broker.publish(topicOf(verdict.address), encodePayload('verdict', { ...verdict.payload, id }))
    await arrived
    assert.deepEqual([handled, attempts], [['w-0', 'w-1', 'w-2'], 3])
  })
}

test('a handler that resolves after its connection has ended acknowledges nothing on the next', async t => {
  const broker = await startBroker(t)
  const taken: { id: string; done: () => void }[] = []
  const taking = new EventEmitter()
  const { session } = await online(t, broker, {
    clean: false,
    awaitsHandling: true,
    onMessage: ({ payload }) =>
      new Promise<void>(resolve => {
        taken.push({ id: (payload as { id: string }).id, done: resolve })
        taking.emit('taken')
      }),
  })
  const publish = (id: string) =>
    broker.publish(topicOf(verdict.address), encodePayload('verdict', { ...verdict.payload, id }))
  const first = once(taking, 'taken', { signal: soon() })
  publish('w-0')
  await first
  const again = once(taking, 'taken', { signal: soon() })
  broker.breakConnections()
  await again
  taken[0]!.done()
  await once(session, 'offline', { signal: AbortSignal.timeout(200) }).catch(() => {})
  // Had it been acknowledged, it would not come a third time.
  const third = once(taking, 'taken', { signal: soon() })
  broker.breakConnections()
  await third
  taken[2]!.done()
  const next = once(taking, 'taken', { signal: soon() })
  publish('w-1')
  await next
  taken.at(-1)!.done()
  assert.deepEqual(
    taken.map(({ id }) => id),
    ['w-0', 'w-0', 'w-0', 'w-1'],
  )
})

test('wrong credentials are reported as such, and tried again', async t => {
  const broker = await startBroker(t)
  broker.refuseCredentials = true
  const { session } = newSession(t, broker)
  await session.start()
  assert.equal((await problem(session)).code, 'CREDENTIALS_REFUSED')
  assert.equal((await problem(session)).code, 'CREDENTIALS_REFUSED')
  assert.equal(session.online, false)
  broker.refuseCredentials = false // As when the device is enrolled after it was switched on.
  await session.whenOnline(soon())
})

test('a broker that is not there is reported as unreachable', async t => {
  const { session } = newSession(t, { url: 'mqtt://127.0.0.1:1' })
  await session.start()
  const error = await problem(session)
  assert.equal(error.code, 'BROKER_UNREACHABLE')
  assert.match(error.message, /ECONNREFUSED/)
})

test('a refused subscription is named, tried again after growing pauses, and never online', async t => {
  const broker = await startBroker(t)
  broker.refusedFilters = [commands]
  const { session } = newSession(t, broker, { subscriptions: [verdicts, commands] })
  let wasOnline = false
  session.on('online', () => {
    wasOnline = true
  })
  const times: number[] = []
  await session.start()
  while (times.length < 5) {
    const error = await problem(session)
    assert.equal(error.code, 'CREDENTIALS_REFUSED')
    assert.ok(error.message.endsWith(commands), error.message)
    times.push(performance.now())
  }
  // Pauses of 20, 40, 80 and 160 ms, at least half of each: without them five attempts take a few milliseconds.
  assert.ok(times[4]! - times[0]! > 140, `${times[4]! - times[0]!} ms for five attempts`)
  assert.equal(wasOnline, false)
  broker.refusedFilters = []
  await session.whenOnline(soon())
})

test('what waits to be published survives a refused subscription', async t => {
  const broker = await startBroker(t)
  broker.refusedFilters = [verdicts]
  broker.acknowledgeAfterMs = 200
  const { session } = newSession(t, broker)
  await session.start()
  const published = session.publish(inference.address, inference.payload)
  await problem(session)
  broker.refusedFilters = []
  broker.acknowledgeAfterMs = 0
  await published
})

test('what a session can do without may be refused: it is online, hears the rest, and asks again with the next connection', async t => {
  const broker = await startBroker(t)
  broker.refusedFilters = [commands]
  const { session, received, arrival } = newSession(t, broker, { subscriptions: [] })
  await session.follow([commands, verdicts])
  await session.start()
  await session.whenOnline(soon())
  const arrived = arrival()
  broker.publish(topicOf(examples.command.address), encodePayload('command', examples.command.payload))
  broker.publish(topicOf(verdict.address), encodePayload('verdict', verdict.payload))
  await arrived
  assert.deepEqual(
    received.map(({ kind }) => kind),
    ['verdict'],
  )
  broker.refusedFilters = []
  const offline = once(session, 'offline', { signal: soon() })
  broker.breakConnections()
  await offline
  await session.whenOnline(soon())
  const heard = arrival()
  broker.publish(topicOf(examples.command.address), encodePayload('command', examples.command.payload))
  await heard
  assert.equal(received.at(-1)?.kind, 'command')
})

const will = { address: state.address, payload: encodePayload('state', { online: false, boot: 12 }) }
const wills = (broker: TestBroker): unknown[] => broker.published.filter(({ topic }) => topic === stateTopic)

test('the will is published when the connection breaks', async t => {
  const broker = await startBroker(t)
  await online(t, broker, { will })
  broker.breakConnections()
  await until(() => wills(broker).length === 1)
  assert.deepEqual(wills(broker), [{ topic: stateTopic, payload: '{"online":false,"boot":12}', qos: 1, retain: true }])
})

test('a session that stops publishes no will', async t => {
  const broker = await startBroker(t)
  const { session } = await online(t, broker, { will })
  await session.stop()
  assert.equal(session.online, false)
  await assert.rejects(session.publish(inference.address, inference.payload), { code: 'BROKER_UNREACHABLE' })
  // A second session on the same broker: when its message is there, a will would have been there before.
  const other = await online(t, broker)
  await other.session.publish(inference.address, inference.payload)
  assert.deepEqual(wills(broker), [])
})

test('stopping waits for what is in flight', async t => {
  const broker = await startBroker(t)
  broker.acknowledgeAfterMs = 200
  const { session } = await online(t, broker)
  const published = session.publish(inference.address, inference.payload)
  await session.stop()
  await published
})

test('stopping offline ends, and settles what still waits', async t => {
  const { session } = newSession(t, { url: 'mqtt://127.0.0.1:1' })
  await session.start()
  const published = assert.rejects(session.publish(inference.address, inference.payload), {
    code: 'BROKER_UNREACHABLE',
  })
  await session.stop()
  await published
  await session.stop()
})

test('a cleared retained message is announced with its address; other empty payloads are not', async t => {
  const broker = await startBroker(t)
  const { session, received } = await online(t, broker, { subscriptions: ['faultline/v1/#', 'elsewhere'] })
  const cleared: unknown[] = []
  session.on('cleared', address => cleared.push(address))
  const last = new Promise<void>(resolve => session.on('cleared', ({ kind }) => kind === 'alarm' && resolve()))
  const { alarm } = examples
  for (const topic of ['elsewhere', topicOf(inference.address), stateTopic, topicOf(alarm.address)]) {
    broker.publish(topic, '')
  }
  await last
  assert.deepEqual(cleared, [state.address, alarm.address])
  assert.deepEqual(received, [])
})

test('a listener that fails on a clearing does not end the session', async t => {
  const broker = await startBroker(t)
  const { session } = await online(t, broker, { subscriptions: ['faultline/v1/#'] })
  session.on('cleared', () => {
    throw new Error('a mistake of the listener')
  })
  const refused = once(session, 'refused', { signal: soon() })
  broker.publish(stateTopic, '')
  const [error] = (await refused) as [FaultlineError]
  assert.equal(error.code, 'INTERNAL')
  assert.equal(session.online, true)
})

test('a listener that throws does not disturb the session', async t => {
  const broker = await startBroker(t)
  const { session, received, arrival } = await online(t, broker)
  const heard = new Set<string>()
  for (const event of ['online', 'offline', 'problem', 'refused'] as const) {
    session.on(event, () => {
      heard.add(event)
      throw new TypeError('mine')
    })
  }
  await broker.stop()
  await until(() => heard.has('problem'))
  await broker.start()
  await until(() => heard.has('online'))
  broker.publish(topicOf(verdict.address), '{')
  const arrived = arrival()
  broker.publish(topicOf(verdict.address), encodePayload('verdict', verdict.payload))
  await arrived
  assert.equal(received.length, 1)
  assert.deepEqual([...heard], ['offline', 'problem', 'online', 'refused'])
})

test('small packets are sent at once, without waiting for the acknowledgement of the one before', async t => {
  const broker = await startBroker(t)
  const calls: { port: number | undefined; noDelay: boolean | undefined }[] = []
  const original = Socket.prototype.setNoDelay
  t.mock.method(Socket.prototype, 'setNoDelay', function (this: Socket, noDelay?: boolean) {
    calls.push({ port: this.remotePort, noDelay })
    return original.call(this, noDelay)
  })
  await online(t, broker)
  assert.deepEqual(
    calls.filter(({ port }) => port === broker.port),
    [{ port: broker.port, noDelay: true }],
  )
})

test('stopping does not wait for ever on a broker that went silent', { timeout: 60_000 }, async t => {
  const sockets: Socket[] = []
  const silent = createServer({ allowHalfOpen: true }, socket => {
    sockets.push(socket)
    // CONNECT is answered with an accepting CONNACK, nothing else ever.
    socket.once('data', () => socket.write(Buffer.of(0x20, 2, 0, 0)))
    socket.on('error', () => {})
  })
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    silent.close()
  })
  const { port } = silent.address() as { port: number }
  const { session } = newSession(t, { url: `mqtt://127.0.0.1:${port}` }, { subscriptions: [] })
  await session.start()
  await session.whenOnline(soon())
  const published = assert.rejects(session.publish(inference.address, inference.payload), {
    code: 'BROKER_UNREACHABLE',
  })
  await session.stop()
  await published
})

test('waiting to be online can be called off', async t => {
  const { session } = newSession(t, { url: 'mqtt://127.0.0.1:1' })
  await session.start()
  await assert.rejects(session.whenOnline(AbortSignal.timeout(20)))
})

test('a session asks for the keep-alive it was given', async t => {
  const server = createServer()
  t.after(() => server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as { port: number }
  const { session } = newSession(t, { url: `mqtt://127.0.0.1:${port}` }, { keepAliveS: 240 })
  const connected = once(server, 'connection', { signal: soon() })
  await session.start()
  const [socket] = (await connected) as [Socket]
  const [connect] = (await once(socket, 'data', { signal: soon() })) as [Buffer]
  socket.destroy()
  // MQTT 3.1.1, 3.1.2: the protocol's name and level, the flags, then the keep-alive.
  assert.equal(connect.readUInt16BE(connect.indexOf('MQTT') + 6), 240)
})

test('two clients with one identity say so, pause longer and longer, and one recovers when the other is gone', {
  timeout: 60_000,
}, async t => {
  const broker = await startBroker(t)
  const backOff = { initialMs: 5, maximumMs: 400 }
  const { logger, lines } = await logFile(t)
  const [{ session: first }, { session: second }] = [
    newSession(t, broker, { backOff, logger }),
    newSession(t, broker, { backOff }),
  ]
  let longest = 0
  const paused = new EventEmitter()
  for (const session of [first, second]) {
    let left = Number.NaN
    session.on('offline', () => {
      left = performance.now()
    })
    session.on('online', () => {
      longest = Math.max(longest, performance.now() - left || 0)
      // Longer than any pause of a session that is alone.
      if (longest > 2 * backOff.maximumMs) paused.emit('long')
    })
  }
  const long = once(paused, 'long', { signal: AbortSignal.timeout(40_000) })
  const said = new Promise<FaultlineError>(resolve => {
    first.on('problem', error => error.code === 'IDENTITY_CONTESTED' && resolve(error))
  })
  await first.start()
  await second.start()
  const error = await said
  assert.match(error.message, /another client uses this identity \(devices\/plant-a\/press-3\)/)
  assert.equal(first.problem?.error, error)
  await long
  assert.equal(lines().filter(({ code }) => code === 'IDENTITY_CONTESTED').length, 1)
  await second.stop()
  await first.whenOnline(AbortSignal.timeout(20_000))
})
