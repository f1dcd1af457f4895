import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { missing } from '../support/programs.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { anna, collect, escalationOf, escalations, press, recordLog, startBroker, type TestBroker } from './harness.ts'
import { connectRaw } from './raw-client.ts'

const skip = missing('redis-server')
const group = `$share/g/${escalations}`
const session = { clientId: `${anna.name}/laptop`, clean: false }

const loginOf = ({ secrets }: TestBroker) => ({
  username: anna.name,
  password: Buffer.from(secrets.get(anna.name)!),
  ...session,
})

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const signal = AbortSignal.timeout(30_000)
  while (!(await holds())) {
    signal.throwIfAborted()
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

const isReady = ({ broker }: TestBroker) => broker.notReady().length === 0

async function start(t: TestContext): Promise<{ redis: TestRedis; broker: TestBroker }> {
  const redis = await startRedis(t)
  return { redis, broker: await startBroker(t, { redis: redis.url }) }
}

/** Leaves a stored session behind that hears escalations. */
async function leaveSession({ connect }: TestBroker): Promise<void> {
  const client = await connect(anna, session)
  await client.subscribeAsync(escalations, { qos: 1 })
  await client.endAsync()
}

/** Tries until a message is acknowledged, by new connections: those there were may have been ended. */
async function publish({ connect }: TestBroker, payload: string): Promise<void> {
  await until(async () => {
    try {
      const device = await connect(press)
      const ended = new Promise((_, reject) => device.once('close', () => reject(new Error('closed'))))
      await Promise.race([device.publishAsync(escalationOf('press-1'), payload, { qos: 1 }), ended])
      await device.endAsync()
      return true
    } catch {
      return false
    }
  })
}

/** The session has these messages, in this order. */
async function assertWaiting({ connect }: TestBroker, payloads: string[]): Promise<void> {
  const client = await connect(anna, session)
  const received = collect(client)
  await received.until(payloads.length)
  assert.deepEqual(received.payloads(), payloads)
  await client.endAsync()
}

test('while Redis hangs a broker is not ready; afterwards it is, and has what it acknowledged', { skip }, async t => {
  const { redis, broker } = await start(t)
  await leaveSession(broker)
  await publish(broker, 'before')
  const device = await broker.connect(press)
  redis.hang()
  t.after(() => redis.resume())
  let isAcknowledged = false
  device.publish(escalationOf('press-1'), 'meanwhile', { qos: 1 }, error => {
    isAcknowledged = !error
  })
  await until(() => broker.broker.notReady()[0] === 'Redis does not answer')
  assert.equal(isAcknowledged, false)
  redis.resume()
  await until(() => isReady(broker))
  device.end(true)
  const client = await broker.connect(anna, session)
  const received = collect(client)
  await received.until(2)
  assert.deepEqual(received.payloads(), ['before', 'meanwhile'])
})

test('a Redis without memory left acknowledges nothing and ends no broker; clients that are there stay', {
  skip,
}, async t => {
  const { redis, broker } = await start(t)
  await leaveSession(broker)
  await publish(broker, 'before')
  const reader = await broker.connect(anna, { clientId: 'reader' })
  await redis.ask(db => db.config('SET', 'maxmemory', '1'))
  const device = await broker.connect(anna, { clientId: 'other' }).catch(() => undefined)
  assert.equal(device, undefined)
  await until(() => /^Redis refuses to write: OOM/.test(broker.broker.notReady()[0] ?? ''))
  assert.ok(broker.broker.counts.redisErrors > 0)
  // Its lease is renewed all the same: others would give it up with its clients.
  const lease = (await redis.ask(db => db.keys('faultline:alive:*')))[0]!
  await redis.ask(db => db.pexpire(lease, 3_000))
  await until(async () => (await redis.ask(db => db.pttl(lease))) > 4_000)
  assert.equal(reader.connected, true)
  await redis.ask(db => db.config('SET', 'maxmemory', '0'))
  await until(() => isReady(broker))
  await publish(broker, 'after')
  await assertWaiting(broker, ['before', 'after'])
})

test('a Redis that has become a replica is not ready, and what was acknowledged is there when it is none again', {
  skip,
}, async t => {
  const { redis, broker } = await start(t)
  await leaveSession(broker)
  await publish(broker, 'before')
  await redis.ask(db => db.replicaof('127.0.0.1', 1))
  await until(() => !isReady(broker))
  await redis.ask(db => db.replicaof('NO', 'ONE'))
  await until(() => isReady(broker))
  await publish(broker, 'after')
  await assertWaiting(broker, ['before', 'after'])
})

test('a Redis that is killed and started anew ends no broker, and is used again', { skip }, async t => {
  const { redis, broker } = await start(t)
  await redis.kill()
  await until(() => broker.broker.notReady()[0] === 'Redis cannot be reached')
  await redis.restart()
  await until(() => isReady(broker))
  await leaveSession(broker)
  await publish(broker, 'after')
  await assertWaiting(broker, ['after'])
})

test('no key of a wrong type ends a broker, or keeps it from going on once it is mended', { skip }, async t => {
  const { redis, broker } = await start(t)
  const { clientId } = session
  const shared = [
    'version',
    'clock',
    'sequence',
    'clients',
    'counts',
    'bytes',
    'incoming',
    'retained',
    'empty',
    'holders',
    'wills',
  ]
  const perSession = ['subs', 'messages', 'telemetry', 'orders', 'ids', 'sent', 'incoming']
  const names = [
    ...[...shared, 'brokers', `ring:${group}`, `messages:${group}`, `telemetry:${group}`],
    ...perSession.map(kind => `${kind}:${clientId}`),
  ]
  for (const name of names) {
    const key = `faultline:${name}`
    const other = name.startsWith('ring') ? 'hset' : 'rpush'
    await redis.ask(async db => {
      await db.del(key)
      await db.call(other, key, 'x', 'y')
    })
    const client = await connectRaw(t, broker.broker.port, {
      ...loginOf(broker),
      will: { topic: 'faultline/v1/operators/anna/x', payload: Buffer.from('gone'), qos: 1, retain: false },
    })
    client.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [
        { topic: escalations, qos: 1 },
        { topic: group, qos: 1 },
      ],
    })
    const device = await connectRaw(t, broker.broker.port, {
      clientId: press.name,
      username: press.name,
      password: Buffer.from(broker.secrets.get(press.name)!),
    })
    const message = { cmd: 'publish', topic: escalationOf('press-1'), payload: 'x', dup: false } as const
    device.send({ ...message, qos: 0, retain: false })
    device.send({ ...message, qos: 1, retain: false, messageId: 1 })
    device.send({ ...message, topic: `faultline/v1/${press.name}/state`, qos: 1, retain: true, messageId: 2 })
    device.send({ ...message, qos: 2, retain: false, messageId: 3 })
    device.send({ cmd: 'pubrel', messageId: 3 })
    client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [escalations] })
    for (const raw of [client, device]) {
      raw.send({ cmd: 'pingreq' })
      await Promise.race([raw.next('pingresp').catch(() => {}), raw.closed().catch(() => {})])
      raw.socket.destroy()
    }
    await broker.broker.engine!.sessions.count().catch(() => {})
    await redis.ask(db => db.del(key))
    await until(() => isReady(broker))
    await publish(broker, name)
  }
})

test('what others publish on the channels of the brokers ends none of them', { skip }, async t => {
  const { redis, broker } = await start(t)
  const channels = await redis.ask(db => db.pubsub('CHANNELS') as Promise<string[]>)
  assert.ok(channels.length > 1)
  for (const channel of channels) await redis.ask(db => db.publish(channel, 'no message of a broker'))
  await leaveSession(broker)
  await publish(broker, 'x')
  await assertWaiting(broker, ['x'])
})

test('a connected client has no will that is left over, whatever the wall clock says', { skip }, async t => {
  const redis = await startRedis(t)
  for (const options of [{}, { redis: redis.url }]) {
    const broker = await startBroker(t, options)
    const will = { topic: `faultline/v1/${press.name}/state`, payload: Buffer.from('gone'), qos: 1 as const }
    await broker.connect(press, { will })
    // As Aedes asks when its wall clock has jumped: no broker was heard of lately.
    assert.deepEqual(await broker.broker.engine!.persistence.streamWill({}).toArray(), [])
  }
})

test('a broker that has lost its lease ends its connections while Redis hangs, and others can be made afterwards', {
  skip,
}, async t => {
  const { redis, broker } = await start(t)
  await leaveSession(broker)
  const reader = await connectRaw(t, broker.broker.port, loginOf(broker))
  await reader.next('connack')
  redis.hang()
  t.after(() => redis.resume())
  await reader.closed()
  // It can go to another broker at once.
  const refused = await connectRaw(t, broker.broker.port, loginOf(broker))
  assert.equal((await refused.next('connack')).returnCode, 3)
  redis.resume()
  await until(() => isReady(broker))
  await publish(broker, 'after')
  await assertWaiting(broker, ['after'])
})

test('connections to a Redis whose machine has vanished are made anew', { skip }, async t => {
  const { redis, broker } = await start(t)
  const connections = () =>
    redis.ask(db => db.info('clients').then(text => Number(/connected_clients:(\d+)/.exec(text)![1])))
  const before = await connections()
  const ids = async () => {
    const list = await redis.ask(db => db.client('LIST') as Promise<string>)
    return new Set(list.match(/^id=\d+/gm))
  }
  const old = await ids()
  redis.hang()
  t.after(() => redis.resume())
  await until(() => broker.broker.notReady()[0] === 'Redis cannot be reached')
  redis.resume()
  await until(() => isReady(broker))
  const kept = [...(await ids())].filter(id => old.has(id))
  assert.deepEqual(kept, [])
  assert.equal(await connections(), before)
  await leaveSession(broker)
  await publish(broker, 'after')
  await assertWaiting(broker, ['after'])
})

test('a broker stops while Redis hangs', { skip }, async t => {
  const redis = await startRedis(t)
  const { lines, logger } = recordLog()
  const broker = await startBroker(t, { redis: redis.url, logger })
  const will = {
    topic: `faultline/v1/${press.name}/state`,
    payload: Buffer.from('gone'),
    qos: 1 as const,
    retain: true,
  }
  const device = await broker.connect(press, { will })
  await device.subscribeAsync(`faultline/v1/${press.name}/command`, { qos: 1 })
  redis.hang()
  t.after(() => redis.resume())
  await broker.broker.stop()
  assert.ok(lines.some(({ msg, error }) => msg === 'stopping without Redis' && error === 'Redis does not answer'))
})

test('a broker does not start over a Redis that hangs, and says so', { skip }, async t => {
  const redis = await startRedis(t)
  redis.hang()
  t.after(() => redis.resume())
  await assert.rejects(startBroker(t, { redis: redis.url }), { code: 'REDIS_UNREACHABLE', message: 'redis: no answer' })
})
