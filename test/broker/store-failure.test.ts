import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { BrokerMetrics } from '@faultline/broker'
import { createLogger, type DatabaseFailure } from '@faultline/runtime'
import type { SqlitePersistence } from '../../broker/persistence/sqlite.ts'
import type { SubscriptionTable } from '../../broker/persistence/subscriptions.ts'
import { temporaryDirectory } from '../support/temp.ts'
import {
  anna,
  ben,
  collect,
  escalationOf,
  escalations,
  flows,
  press,
  pump,
  server,
  startBroker,
  type TestBroker,
} from './harness.ts'
import { connectRaw } from './raw-client.ts'

const inference = `faultline/v1/${press.name}/points/de/inference`
const health = `faultline/v1/${pump.name}/health`
const stored = { clientId: `${anna.name}/tool`, clean: false }
const group = `$share/servers/${escalations}`

const storeOf = ({ broker }: TestBroker) => broker.engine!.persistence as SqlitePersistence
const databaseOf = (broker: TestBroker) =>
  (storeOf(broker) as unknown as { opened: { database: DatabaseSync } }).opened.database

async function startStored(t: TestContext, limits = {}) {
  const directory = await temporaryDirectory(t)
  const [log, store] = [join(directory, 'log'), join(directory, 'broker.db')]
  const broker = await startBroker(t, { store, limits, logger: createLogger('broker', { file: log }) })
  const logged = async (text: string) => (await readFile(log, 'utf8')).split('\n').filter(line => line.includes(text))
  return { broker, store, logged }
}

/** Leaves a session of an operator behind that reads what is published to a topic. */
async function leaveSession({ connect }: TestBroker): Promise<void> {
  const client = await connect(anna, stored)
  await client.subscribeAsync(inference, { qos: 1 })
  await client.endAsync()
}

async function wait(until: () => boolean): Promise<void> {
  const signal = AbortSignal.timeout(10_000)
  while (!until()) {
    signal.throwIfAborted()
    await new Promise(setImmediate)
  }
}

/** What SQLite throws when the disk does not write. */
function breakCommits(t: TestContext, database: DatabaseSync, errcode: number, message: string): () => void {
  const exec = database.exec.bind(database)
  const broken = t.mock.method(database, 'exec', (sql: string) => {
    if (sql === 'COMMIT') throw Object.assign(new Error(message), { code: 'ERR_SQLITE_ERROR', errcode })
    exec(sql)
  })
  return () => broken.mock.restore()
}

/** Has the store refuse changes, and gives what has it take them again. */
const refusals: Partial<Record<DatabaseFailure, (t: TestContext, database: DatabaseSync) => () => void>> = {
  'read-only': (_, database) => {
    database.exec('PRAGMA query_only = ON')
    return () => database.exec('PRAGMA query_only = OFF')
  },
  full: (t, database) => breakCommits(t, database, 13, 'database or disk is full'),
  io: (t, database) => breakCommits(t, database, 10 | (3 << 8), 'disk I/O error'),
  damaged: (t, database) => breakCommits(t, database, 11, 'database disk image is malformed'),
}

for (const [reason, refuse] of Object.entries(refusals)) {
  test(`a store that refuses changes (${reason}) costs no message that was acknowledged, and the broker serves on`, async t => {
    const { broker, logged } = await startStored(t)
    await leaveSession(broker)
    const device = await broker.connect(press)
    await device.publishAsync(inference, 'before', { qos: 1 })
    const watcher = await broker.connect(ben)
    const watched = collect(watcher)
    await watcher.subscribeAsync(health)
    const { queued, subscriptions } = storeOf(broker)

    const mend = refuse(t, databaseOf(broker))
    const closed = new Promise<void>(resolve => device.once('close', () => resolve()))
    const refused = device.publishAsync(inference, 'refused', { qos: 1 })
    refused.catch(() => {}) // Never acknowledged; it fails when the client ends.
    await closed
    assert.deepEqual(storeOf(broker).queued, queued)
    // Nothing that needs no store suffers: a login with a will, QoS 0, QoS 1 that no stored session is to have.
    const will = {
      topic: `faultline/v1/${pump.name}/state`,
      payload: Buffer.from('offline'),
      qos: 1,
      retain: true,
    } as const
    const other = await broker.connect(pump, { will })
    await other.publishAsync(health, 'live', { qos: 0 })
    await other.publishAsync(health, 'acknowledged', { qos: 1 })
    await watched.until(2)
    await watcher.subscribeAsync(escalations, { qos: 1 })
    // A subscription that would have to be stored is refused.
    await assert.rejects(watcher.subscribeAsync(group, { qos: 1 }), /Subscribe error/)
    const session = await broker.connect(flows, { clean: false })
    await assert.rejects(session.subscribeAsync(inference, { qos: 1 }), /Subscribe error/)
    assert.equal(storeOf(broker).subscriptions, subscriptions)
    assert.match(broker.broker.notReady().join(), /^the store refuses changes: .*broker\.db/)
    const { registry } = new BrokerMetrics(broker.broker)
    assert.match(await registry.metrics(), /^faultline_broker_store_writable 0$/m)
    assert.match(await registry.metrics(), new RegExp(`store_errors_total{reason="${reason}"} [1-9]`))

    const writable = once(storeOf(broker), 'writable')
    mend()
    await writable
    assert.deepEqual(broker.broker.notReady(), [])
    await (await broker.connect(press)).publishAsync(inference, 'after', { qos: 1 })
    await session.subscribeAsync(inference, { qos: 1 })
    const sleeper = await broker.connect(anna, stored)
    const received = collect(sleeper)
    await received.until(2)
    assert.deepEqual(received.payloads(), ['before', 'after'])
    const lines = await logged('"code":"DATABASE_FAILED"')
    assert.equal(lines.length, 1, lines.join('\n'))
    assert.match(lines[0]!, /"the store refuses changes/)
    assert.equal((await logged('the store takes changes again')).length, 1)
  })
}

test('while another process has the store locked, messages wait and everything else goes on', async t => {
  const { broker, store } = await startStored(t)
  await leaveSession(broker)
  const watcher = await broker.connect(ben)
  const watched = collect(watcher)
  await watcher.subscribeAsync(health)
  const device = await broker.connect(press)
  const other = await broker.connect(pump)

  const locking = new DatabaseSync(store)
  t.after(() => locking.close())
  locking.exec('BEGIN IMMEDIATE')
  let acknowledged = false
  const published = device.publishAsync(inference, 'waits', { qos: 1 }).then(() => {
    acknowledged = true
  })
  for (let i = 1; i <= 5; i++) {
    await other.publishAsync(health, String(i), { qos: 0 })
    await watched.until(i)
  }
  assert.equal(acknowledged, false)
  assert.deepEqual(broker.broker.notReady(), [])
  locking.exec('ROLLBACK')
  await published
  const sleeper = await broker.connect(anna, stored)
  const received = collect(sleeper)
  await received.until(1)
  assert.deepEqual(received.payloads(), ['waits'])
  assert.equal(broker.broker.counts.storeErrors.locked, 0)
})

test('what a client acknowledges while the store refuses changes is not sent again, and removed later', async t => {
  const { broker } = await startStored(t)
  await leaveSession(broker)
  const device = await broker.connect(press)
  await device.publishAsync(inference, 'once', { qos: 1 })
  const login = { ...stored, username: anna.name, password: Buffer.from(broker.secrets.get(anna.name)!) }
  const first = await connectRaw(t, broker.broker.port, login)
  const { messageId } = await first.next('publish')

  const database = databaseOf(broker)
  database.exec('PRAGMA query_only = ON')
  first.send({ cmd: 'puback', messageId: messageId! })
  first.send({ cmd: 'pingreq' })
  await first.next('pingresp') // Still connected.
  first.socket.destroy()
  await wait(() => broker.broker.counts.connected === 1)
  const second = await connectRaw(t, broker.broker.port, login)
  await second.next('connack')
  second.send({ cmd: 'pingreq' })
  assert.equal((await second.take()).cmd, 'pingresp')
  const writable = once(storeOf(broker), 'writable')
  database.exec('PRAGMA query_only = OFF')
  await writable
  assert.deepEqual(storeOf(broker).queued, { messages: 0, bytes: 0 })
  await device.publishAsync(inference, 'next', { qos: 1 })
  assert.equal((await second.next('publish')).payload.toString(), 'next')
})

test('a group serves on while the store refuses changes, sends nothing twice, and ends later', async t => {
  const { broker } = await startStored(t, { emptyGroupMs: 300 })
  const device = await broker.connect(press)
  const login = {
    username: server.name,
    clientId: server.name,
    password: Buffer.from(broker.secrets.get(server.name)!),
  }
  const member = await connectRaw(t, broker.broker.port, login)
  await member.next('connack')
  member.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: group, qos: 1 }] })
  await member.next('suback')
  for (const payload of ['done', 'open']) await device.publishAsync(escalationOf('press-1'), payload, { qos: 1 })
  const { messageId } = await member.next('publish')
  await member.next('publish')

  const database = databaseOf(broker)
  database.exec('PRAGMA query_only = ON')
  member.send({ cmd: 'puback', messageId: messageId! })
  member.send({ cmd: 'pingreq' })
  await member.next('pingresp')
  const other = await connectRaw(t, broker.broker.port, {
    ...login,
    clientId: anna.name,
    username: anna.name,
    password: Buffer.from(broker.secrets.get(anna.name)!),
  })
  await other.next('connack')
  other.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: group, qos: 1 }] })
  await other.next('suback') // The group is there already.
  member.socket.destroy()
  assert.equal((await other.next('publish')).payload.toString(), 'open')
  other.socket.destroy()
  const { counts } = broker.broker
  await wait(() => counts.dropped['group-abandoned'] > 0)
  const writable = once(storeOf(broker), 'writable')
  database.exec('PRAGMA query_only = OFF')
  await writable
  assert.deepEqual(storeOf(broker).queued, { messages: 0, bytes: 0 })
  assert.ok(!storeOf(broker).sessions().has(group))
})

test('a group whose queue cannot be read tries again', async t => {
  const { broker } = await startStored(t)
  const device = await broker.connect(press)
  const first = await broker.connect(server)
  await first.subscribeAsync(group, { qos: 1 })
  await first.endAsync()
  await device.publishAsync(escalationOf('press-1'), 'kept', { qos: 1 })
  const store = storeOf(broker)
  const read = store.readQueue.bind(store)
  let failures = 0
  t.mock.method(store, 'readQueue', (session: string, after: number) => {
    if (session === group && ++failures === 1) {
      throw Object.assign(new Error('disk I/O error'), { code: 'ERR_SQLITE_ERROR', errcode: 10 })
    }
    return read(session, after)
  })
  const second = await broker.connect(server)
  const received = collect(second)
  await second.subscribeAsync(group, { qos: 1 })
  await received.until(1)
  assert.deepEqual(received.payloads(), ['kept'])
  assert.equal(broker.broker.counts.storeErrors.io, 1)
})

test('a store that cannot even be read after a change came to nothing takes no other before it was, and loses none', async t => {
  const { broker } = await startStored(t)
  await leaveSession(broker)
  const device = await broker.connect(press)
  const database = databaseOf(broker)
  const { subscriptions } = (storeOf(broker) as unknown as { opened: { subscriptions: SubscriptionTable } }).opened
  const unreadable = t.mock.method(subscriptions, 'restore', subscriptions.restore)
  const { statements } = subscriptions as unknown as { statements: { all: StatementSync } }
  const reading = t.mock.method(statements.all, 'all', () => {
    throw Object.assign(new Error('disk I/O error'), { code: 'ERR_SQLITE_ERROR', errcode: 10 })
  })
  const mend = breakCommits(t, database, 13, 'database or disk is full')
  const closed = new Promise<void>(resolve => device.once('close', () => resolve()))
  device.publishAsync(inference, 'refused', { qos: 1 }).catch(() => {}) // Never acknowledged; it fails when the client ends.
  await closed
  assert.ok(unreadable.mock.callCount() > 0)
  mend()
  // What finds the store unreadable is refused, whether it would have been for the session or not.
  const attempts = unreadable.mock.callCount() + 2
  await wait(() => unreadable.mock.callCount() >= attempts)
  assert.notEqual(storeOf(broker).refusal, undefined)
  const again = await broker.connect(press)
  const refused = new Promise<void>(resolve => again.once('close', () => resolve()))
  again.publishAsync(inference, 'refused', { qos: 1 }).catch(() => {})
  await refused
  const writable = once(storeOf(broker), 'writable')
  reading.mock.restore()
  await writable
  await (await broker.connect(press)).publishAsync(inference, 'kept', { qos: 1 })
  const received = collect(await broker.connect(anna, stored))
  await received.until(1)
  assert.deepEqual(received.payloads(), ['kept'])
})
