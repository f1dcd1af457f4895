import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Readable } from 'node:stream'
import { after, before, type TestContext, test } from 'node:test'
import { encodePayload, examples, topicOf } from '@faultline/protocol'
import { openDatabase, silentLogger } from '@faultline/runtime'
import type { AedesPublishPacket } from 'aedes'
import { RedisLink } from '../../broker/cluster/redis.ts'
import { noCounts } from '../../broker/counts.ts'
import { type BrokerLimits, defaultLimits } from '../../broker/limits.ts'
import type { BrokerPersistence, PersistenceOptions } from '../../broker/persistence/persistence.ts'
import { RedisPersistence } from '../../broker/persistence/redis.ts'
import { migrations } from '../../broker/persistence/schema.ts'
import { SqlitePersistence } from '../../broker/persistence/sqlite.ts'
import { missing } from '../support/programs.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { temporaryDirectory } from '../support/temp.ts'

const require = createRequire(import.meta.url)
/** The tests that every persistence for Aedes has to pass, by its makers. */
const abstractPersistence = require('aedes-persistence/abstract.js') as (options: object) => void

const command = 'faultline/v1/devices/plant-a/press-1/command'
const inference = 'faultline/v1/devices/plant-a/press-1/points/de/inference'

/** Where a persistence keeps things: another one of the same place finds them again. */
interface Place {
  create(limits?: Partial<BrokerLimits>): { persistence: BrokerPersistence; dropped: Record<string, number> }
  /** Has so much time pass by which messages grow old. */
  pass(ms: number): void | Promise<void>
}

interface Kind {
  name: string
  skip: false | string
  place(t: TestContext): Promise<Place>
}

function optionsWith(limits: Partial<BrokerLimits>) {
  const { dropped } = noCounts()
  const options: PersistenceOptions = {
    limits: { ...defaultLimits, ...limits },
    isGranted: () => true,
    dropped: (_, reason, messages) => {
      dropped[reason] += messages
    },
  }
  return { options, dropped }
}

/** Lets the monotonic clock of this process run ahead. */
function mockMonotonicClock(t: TestContext): { pass(ms: number): void } {
  let passed = 0
  const real = performance.now.bind(performance)
  t.mock.method(performance, 'now', () => real() + passed)
  return {
    pass: ms => {
      passed += ms
    },
  }
}

const sqlite = (name: string, pathOf: (t: TestContext) => Promise<string>): Kind => ({
  name,
  skip: false,
  place: async t => {
    const path = await pathOf(t)
    const { pass } = mockMonotonicClock(t)
    return {
      pass,
      create: (limits = {}) => {
        const { options, dropped } = optionsWith(limits)
        return { persistence: new SqlitePersistence({ path, ...options }), dropped }
      },
    }
  },
})

let server: TestRedis | undefined
const skipRedis = missing('redis-server')
const endings: (() => Promise<void>)[] = []
before(async () => {
  if (!skipRedis) server = await startRedis({ after: end => endings.unshift(end) })
})
after(async () => {
  for (const end of endings) await end()
})

const redis: Kind = {
  name: 'in Redis',
  skip: skipRedis,
  place: async () => {
    await server!.flush()
    return {
      pass: ms => server!.pass(ms),
      create: (limits = {}) => {
        const { options, dropped } = optionsWith(limits)
        const link = new RedisLink({ url: server!.url, logger: silentLogger })
        return {
          persistence: new RedisPersistence({ link, sharedInFlight: 10, logger: silentLogger, ...options }),
          dropped,
        }
      },
    }
  },
}

const inMemory = sqlite('in memory', async () => ':memory:')
const inFile = sqlite('in a file', async t => join(await temporaryDirectory(t), 'broker.db'))

/**
 * Their retained messages carry a field of no meaning, which they want back; and they compare with a packet on which the
 * number it was stored under is noted here, for Aedes to publish it under the same.
 */
function withIds(persistence: BrokerPersistence): BrokerPersistence {
  const { createRetainedStreamCombi, incomingStorePacket } = persistence
  persistence.incomingStorePacket = (client, packet) => incomingStorePacket.call(persistence, client, { ...packet })
  persistence.createRetainedStreamCombi = filters =>
    Readable.from(
      createRetainedStreamCombi
        .call(persistence, filters)
        .map((packet: object) => ({ ...packet, id: persistence.broker.id })),
    )
  return persistence
}

for (const { name, skip, place } of [inMemory, inFile, redis]) {
  let at: Place
  abstractPersistence({
    test: (what: string, run: (t: TestContext) => Promise<void>) =>
      test(`${name}: ${what}`, { skip }, async t => {
        at = await place(t)
        await run(t)
      }),
    persistence: () => withIds(at.create().persistence),
    testAsync: true,
  })
}

const packetOf = (
  topic: string,
  brokerCounter: number,
  more: Partial<AedesPublishPacket> = {},
): AedesPublishPacket => ({
  cmd: 'publish',
  brokerId: 'b',
  brokerCounter,
  topic,
  payload: Buffer.from(String(brokerCounter)),
  qos: 1,
  retain: false,
  dup: false,
  ...more,
})

const session = { id: 'a' }

/** Resolves once a message is safe. */
const store = (persistence: BrokerPersistence, packet: AedesPublishPacket): Promise<void> =>
  new Promise((resolve, reject) => persistence.store(packet, error => (error ? reject(error) : resolve())))

async function waiting(persistence: BrokerPersistence, of: { id: string } = session): Promise<string[]> {
  const packets: AedesPublishPacket[] = await persistence.outgoingStream(of).toArray()
  return packets.map(({ payload }) => String(payload))
}

/** Behaviours beyond what Aedes' makers test, of every kind. */
function behaviours(kinds: readonly Kind[], what: string, run: (place: Place, t: TestContext) => Promise<void>): void {
  for (const { name, skip, place } of kinds) {
    test(`${name}: ${what}`, { skip }, async t => run(await place(t), t))
  }
}

behaviours([inFile, redis], 'everything is there again for the next process, in order', async ({ create }, t) => {
  const first = create().persistence
  await first.setup({ id: 'broker-1', counter: 0 })
  await first.addSubscriptions(session, [{ topic: 'faultline/#', qos: 1 }])
  const messages = Array.from({ length: 250 }, (_, i) =>
    packetOf(inference, 0, { payload: Buffer.from(String(i + 1)) }),
  )
  await Promise.all(messages.map(message => store(first, message)))
  await store(first, packetOf('faultline/v1/state', 0, { retain: true, payload: Buffer.from('kept') }))
  await first.incomingStorePacket({ id: 'p' }, { ...packetOf(inference, 0), qos: 2, messageId: 7 })
  // Not closed: a process that is killed closes nothing.
  const second = create().persistence
  // Another broker id, and its counter begins anew: neither tells the order.
  await second.setup({ id: 'a-broker', counter: 0 })
  t.after(() => Promise.all([first.destroy(), second.destroy()]))
  await store(second, packetOf(inference, 0, { payload: Buffer.from('last') }))
  const expected = [...Array.from({ length: 250 }, (_, i) => String(i + 1)), 'kept', '0', 'last']
  assert.deepEqual(await waiting(second), expected)
  await second.expireQueued() // Figures may be as old as that.
  assert.deepEqual(second.queued.messages, expected.length)
  assert.equal((await second.createRetainedStream('faultline/+/state').toArray()).length, 1)
  assert.equal((await second.incomingGetPacket({ id: 'p' }, { messageId: 7 })).topic, inference)
})

behaviours(
  [inMemory, redis],
  'what was stored before its acknowledgement is not stored again by Aedes',
  async ({ create }) => {
    const { persistence } = create()
    await persistence.setup({ id: 'b', counter: 0 })
    await persistence.addSubscriptions(session, [{ topic: '#', qos: 1 }])
    const packet = packetOf(inference, 0)
    await store(persistence, packet)
    await persistence.storeRetained(packet)
    await persistence.outgoingEnqueueCombi(await persistence.subscriptionsByTopic(inference), packet)
    assert.deepEqual(await waiting(persistence), ['0'])
    // What the broker itself says is not stored before.
    await persistence.outgoingEnqueueCombi(await persistence.subscriptionsByTopic('x'), packetOf('x', 99))
    assert.deepEqual(await waiting(persistence), ['0', '99'])
    await persistence.destroy()
  },
)

behaviours([redis], 'a message of QoS 2 that two brokers take is kept once', async ({ create }) => {
  const [one, other] = [create().persistence, create().persistence]
  await one.setup({ id: 'b', counter: 0 })
  await other.setup({ id: 'c', counter: 0 })
  await one.addSubscriptions(session, [{ topic: '#', qos: 2 }])
  for (const persistence of [one, other]) {
    await persistence.incomingStorePacket({ id: 'p' }, { ...packetOf(inference, 0), qos: 2, messageId: 7 })
  }
  assert.deepEqual(await waiting(one), ['0'])
  await one.destroy()
  await other.destroy()
})

behaviours([inMemory, redis], 'a filter that covers another takes it not along when it goes', async ({ create }) => {
  const { persistence } = create()
  await persistence.setup({ id: 'b', counter: 0 })
  await persistence.addSubscriptions(session, [{ topic: '#', qos: 1 }])
  await persistence.addSubscriptions(session, [{ topic: inference, qos: 1 }])
  await persistence.removeSubscriptions(session, ['#'])
  assert.equal((await persistence.subscriptionsByTopic(inference)).length, 1)
  await persistence.destroy()
})

behaviours(
  [inMemory, redis],
  'telemetry gives way to commands, and grows old; commands do neither',
  async ({ create, pass }) => {
    const { persistence, dropped } = create({ queuedMessages: 4, queuedMs: 10_000 })
    await persistence.setup({ id: 'b', counter: 0 })
    const enqueue = (topic: string, counter: number) =>
      persistence.outgoingEnqueue({ clientId: 'a' }, packetOf(topic, counter))
    await enqueue(command, 1)
    for (let i = 2; i <= 5; i++) await enqueue(inference, i)
    assert.deepEqual(await waiting(persistence), ['1', '3', '4', '5'])
    await pass(6_000)
    await enqueue(inference, 6)
    await pass(6_000)
    await persistence.expireQueued()
    assert.deepEqual(await waiting(persistence), ['1', '6'])
    assert.deepEqual([dropped['queue-full'], dropped['queue-age']], [2, 2])
    for (let i = 7; i <= 9; i++) await enqueue(command, i)
    await enqueue(inference, 10) // No room for telemetry among commands.
    assert.deepEqual(await waiting(persistence), ['1', '7', '8', '9'])
    await enqueue(command, 11)
    assert.deepEqual(await waiting(persistence), ['7', '8', '9', '11'])
    await pass(1_000_000)
    await persistence.expireQueued()
    assert.equal((await waiting(persistence)).length, 4)
    await persistence.destroy()
  },
)

behaviours([inMemory, redis], 'the queue of a recorder has bounds of its own', async ({ create }) => {
  const bytes = inference.length + 1
  const { persistence, dropped } = create({
    queuedMessages: 2,
    recorderQueuedMessages: 5,
    recorderQueuedBytes: 4 * bytes,
  })
  await persistence.setup({ id: 'b', counter: 0 })
  const recorder = { id: 'recorders/main' }
  for (const each of [session, recorder]) await persistence.addSubscriptions(each, [{ topic: '#', qos: 1 }])
  for (let i = 0; i < 6; i++) await store(persistence, packetOf(inference, i))
  assert.deepEqual(await waiting(persistence), ['4', '5'])
  assert.deepEqual(await waiting(persistence, recorder), ['2', '3', '4', '5'])
  assert.equal(dropped['queue-full'], 4 + 2)
  await persistence.destroy()
})

behaviours([inMemory, redis], 'a long queue is read in order, orders among telemetry', async ({ create }) => {
  const { persistence } = create()
  await persistence.setup({ id: 'b', counter: 0 })
  await persistence.addSubscriptions(session, [{ topic: '#', qos: 1 }])
  const count = 450
  for (let i = 0; i < count; i++) await store(persistence, packetOf(i % 3 === 0 ? command : inference, i))
  assert.deepEqual(
    await waiting(persistence),
    Array.from({ length: count }, (_, i) => String(i)),
  )
  await persistence.destroy()
})

test('a recorder may be away for an hour of a hundred devices', () => {
  const messages = 100 * 4 * 3_600
  const bytes =
    topicOf(examples.inference.address).length + encodePayload('inference', examples.inference.payload).length
  assert.ok(defaultLimits.recorderQueuedMessages >= messages)
  assert.ok(defaultLimits.recorderQueuedBytes >= messages * bytes)
})

const dayMs = 86_400_000

behaviours(
  [inMemory, redis],
  'a wall clock that jumps neither ages messages nor mixes them up',
  async ({ create }, t) => {
    const { mock } = t
    const { persistence, dropped } = create({ queuedMs: dayMs })
    mock.timers.enable({ apis: ['Date'], now: Date.parse('2026-01-01') })
    await persistence.setup({ id: 'b', counter: 0 })
    const enqueue = (counter: number) => persistence.outgoingEnqueue({ clientId: 'a' }, packetOf(inference, counter))
    await enqueue(1)
    mock.timers.tick(2 * dayMs)
    await enqueue(2)
    await persistence.expireQueued()
    mock.timers.setTime(Date.parse('2025-01-01'))
    await enqueue(3)
    await persistence.expireQueued()
    assert.deepEqual(await waiting(persistence), ['1', '2', '3'])
    assert.equal(dropped['queue-age'], 0)
    await persistence.destroy()
  },
)

behaviours(
  [inFile, redis],
  'messages do not grow old while no broker runs, and then go on to',
  async ({ create, pass }, t) => {
    const limits = { queuedMs: dayMs }
    const first = create(limits).persistence
    await first.setup({ id: 'b', counter: 0 })
    await first.outgoingEnqueue({ clientId: 'a' }, packetOf(inference, 1))
    await pass(dayMs / 2)
    await first.expireQueued()
    await first.destroy()
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 2 * dayMs })
    const { persistence, dropped } = create(limits)
    await persistence.setup({ id: 'c', counter: 0 })
    await persistence.outgoingEnqueue({ clientId: 'a' }, packetOf(inference, 2))
    await persistence.expireQueued()
    assert.deepEqual(await waiting(persistence), ['1', '2'])
    await pass(dayMs / 2 + 1_000)
    await persistence.expireQueued()
    assert.deepEqual(await waiting(persistence), ['2'])
    assert.equal(dropped['queue-age'], 1)
    await persistence.destroy()
  },
)

behaviours(
  [inMemory, redis],
  'a queue is bounded in bytes, and one message beyond it costs no other',
  async ({ create }) => {
    const { persistence, dropped } = create({ queuedBytes: 100 })
    await persistence.setup({ id: 'b', counter: 0 })
    const enqueue = (counter: number, bytes: number) =>
      persistence.outgoingEnqueue(
        { clientId: 'a' },
        packetOf('t', counter, { payload: Buffer.alloc(bytes - 1, String(counter)) }),
      )
    await enqueue(1, 50)
    await enqueue(2, 50)
    await enqueue(3, 101)
    assert.deepEqual(
      (await waiting(persistence)).map(text => text[0]),
      ['1', '2'],
    )
    await enqueue(4, 1)
    assert.deepEqual((await waiting(persistence)).length, 2)
    assert.equal(dropped['queue-full'], 2)
    await persistence.expireQueued() // Figures may be as old as that.
    assert.deepEqual(persistence.queued, { messages: 2, bytes: 51 })
    await persistence.destroy()
  },
)

test('what cannot be stored is not said to be safe, and is not counted', async t => {
  const file = join(await temporaryDirectory(t), 'broker.db')
  const persistence = new SqlitePersistence({ path: file, ...optionsWith({}).options })
  await persistence.setup({ id: 'b', counter: 0 })
  await persistence.addSubscriptions(session, [{ topic: '#', qos: 1 }])
  await store(persistence, packetOf(inference, 0))
  const { database } = (persistence as unknown as { opened: { database: DatabaseSync } }).opened
  // As when the disk is full: a file of so many pages cannot grow.
  const { page_count: pages } = database.prepare('PRAGMA page_count').get() as { page_count: number }
  database.exec(`PRAGMA max_page_count = ${pages}`)
  const large = () => store(persistence, packetOf(inference, 0, { payload: Buffer.alloc(100_000) }))
  for (const { status } of await Promise.allSettled([large(), large()])) assert.equal(status, 'rejected')
  await new Promise(setImmediate)
  assert.equal(persistence.queued.messages, 1)
  database.exec('PRAGMA max_page_count = 1000000')
  await once(persistence, 'writable')
  await store(persistence, packetOf(inference, 0, { payload: Buffer.from('room again') }))
  assert.deepEqual(await waiting(persistence), ['0', 'room again'])
  await persistence.destroy()
})

test('a store of the first schema is opened, whatever clock it was written by: in its order, and nothing is old', async t => {
  const path = join(await temporaryDirectory(t), 'broker.db')
  const old = openDatabase(path, migrations.slice(0, 1))
  const add = old.prepare(
    `INSERT INTO queue (sequence, client, broker_id, counter, is_order, topic, payload, qos, retain, bytes)
     VALUES (?, 'a', 'b', ?, 0, ?, ?, 1, 0, 100)`,
  )
  const [past, future] = [Date.parse('2020-01-01'), Date.now() + 2 * dayMs]
  for (const [i, ms] of [past, future].entries()) add.run(ms * 1_000, i, inference, String(i))
  old.close()
  const { pass } = mockMonotonicClock(t)
  const persistence = new SqlitePersistence({ path, ...optionsWith({ queuedMs: dayMs }).options })
  await persistence.setup({ id: 'c', counter: 0 })
  await persistence.outgoingEnqueue({ clientId: 'a' }, packetOf(inference, 2))
  await persistence.expireQueued()
  assert.deepEqual(await waiting(persistence), ['0', '1', '2'])
  pass(dayMs + 1_000)
  await persistence.expireQueued()
  assert.deepEqual(await waiting(persistence), [])
  await persistence.destroy()
})

test('what a client may see of a change is in the file by then', async t => {
  const file = join(await temporaryDirectory(t), 'broker.db')
  const persistence = new SqlitePersistence({ path: file, ...optionsWith({}).options })
  await persistence.setup({ id: 'b', counter: 0 })
  t.after(() => persistence.destroy())
  const reader = new DatabaseSync(file)
  t.after(() => reader.close())
  // A reader of its own sees what is committed, and a broker that is started after a kill finds no more.
  const find = (sql: string) => Object.values(reader.prepare(sql).get() ?? { none: undefined })[0]
  const subscribed = 'SELECT count(*) FROM subscriptions'
  await persistence.addSubscriptions(session, [{ topic: inference, qos: 2 }])
  assert.equal(find(subscribed), 1, 'SUBACK')
  const packet = packetOf(inference, 1, { qos: 2 })
  await persistence.incomingStorePacket(session, Object.assign(packet, { messageId: 5 }))
  assert.equal(find('SELECT message_id FROM incoming'), 5, 'PUBREC')
  await persistence.outgoingUpdate(session, Object.assign({ ...packet }, { messageId: 9 }))
  assert.equal(find('SELECT message_id FROM queue'), 9, 'PUBLISH')
  await persistence.outgoingUpdate(session, { cmd: 'pubrel', messageId: 9 })
  assert.equal(find('SELECT released FROM queue'), 1, 'PUBREL')
  const other = persistence.incomingStorePacket(session, Object.assign(packetOf(inference, 2), { messageId: 6 }))
  await persistence.incomingGetPacket(session, { messageId: 6 })
  assert.equal(find('SELECT count(*) FROM incoming'), 2, 'PUBREC of one that comes again')
  await other
  await persistence.incomingDelPacket(session, { messageId: 5 })
  assert.equal(find('SELECT message_id FROM incoming'), 6, 'PUBCOMP')
  await persistence.putWill(session, { topic: inference, payload: Buffer.from('x'), qos: 1, retain: false })
  assert.equal(find('SELECT count(*) FROM wills'), 1, 'CONNACK')
  await persistence.removeSubscriptions(session, [inference])
  assert.equal(find(subscribed), 0, 'UNSUBACK')
})

test('a store that is written by a newer version, or is none, is refused', async t => {
  const directory = await temporaryDirectory(t)
  const persistence = new SqlitePersistence({ path: directory, ...optionsWith({}).options })
  assert.throws(() => persistence.open(), { code: 'DATABASE_FAILED' })
})
