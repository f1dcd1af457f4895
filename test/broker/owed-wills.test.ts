import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { createLogger } from '@faultline/runtime'
import type { MqttClient } from 'mqtt'
import { SqlitePersistence } from '../../broker/persistence/sqlite.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { anna, ben, collect, press, startBroker, type TestBroker } from './harness.ts'

const topic = `faultline/v1/${press.name}/state`
const stored = { clientId: `${anna.name}/tool`, clean: false }
const willOf = (payload: string, qos: 1 | 2) => ({ topic, payload: Buffer.from(payload), qos, retain: true })

/** A broker with a stored session of an operator that reads states. */
async function startStored(t: TestContext) {
  const directory = await temporaryDirectory(t)
  const [log, store] = [join(directory, 'log'), join(directory, 'broker.db')]
  const broker = await startBroker(t, { store, logger: createLogger('broker', { file: log }) })
  const tool = await broker.connect(anna, stored)
  await tool.subscribeAsync(topic, { qos: 2 })
  await tool.endAsync()
  return { broker, store, log }
}

const storeOf = ({ broker }: TestBroker) => broker.engine!.persistence as SqlitePersistence

/** Has the store refuse changes, and gives what has it take them again. */
async function refuse(broker: TestBroker): Promise<() => Promise<void>> {
  const persistence = storeOf(broker)
  const { database } = (persistence as unknown as { opened: { database: DatabaseSync } }).opened
  database.exec('PRAGMA query_only = ON')
  return async () => {
    const writable = once(persistence, 'writable')
    database.exec('PRAGMA query_only = OFF')
    await writable
  }
}

/** Breaks the connection of a client, and waits until the broker has tried to store its will. */
async function breakOff(broker: TestBroker, client: MqttClient): Promise<void> {
  const failed = once(storeOf(broker), 'failed')
  client.stream.destroy()
  await failed
}

for (const qos of [1, 2] as const) {
  test(`a will of QoS ${qos} that the store refuses is published once when it takes changes again`, async t => {
    const { broker } = await startStored(t)
    const watcher = await broker.connect(ben)
    const watched = collect(watcher)
    await watcher.subscribeAsync(topic, { qos: 2 })
    const device = await broker.connect(press, { will: willOf('gone', qos) })
    const mend = await refuse(broker)
    await breakOff(broker, device)
    assert.deepEqual(watched.payloads(), [])
    await mend()
    await watched.until(1)
    const tool = collect(await broker.connect(anna, stored))
    await tool.until(1)
    const late = await broker.connect(ben, { clientId: `${ben.name}/late` })
    const retained = collect(late)
    await late.subscribeAsync(topic, { qos: 1 })
    await retained.until(1)
    assert.deepEqual(
      [...watched.messages, ...tool.messages, ...retained.messages].map(message => [message.payload, message.qos]),
      [
        ['gone', qos],
        ['gone', qos],
        ['gone', 1],
      ],
    )
    assert.deepEqual(await storeOf(broker).streamWill().toArray(), [])
    assert.equal(broker.broker.counts.dropped['store-refused'], 0)
  })
}

test('a will that the store refused is left for the next broker when this one ends', async t => {
  const { broker, store } = await startStored(t)
  const device = await broker.connect(press, { will: willOf('gone', 1) })
  // In the store, which it is after CONNACK.
  while (!(await storeOf(broker).getWill({ id: press.name }))) await new Promise(setImmediate)
  await refuse(broker)
  await breakOff(broker, device)
  await broker.broker.stop()
  const next = new SqlitePersistence({
    path: store,
    limits: { queuedMessages: 1, queuedBytes: 1, queuedMs: 1 },
    isGranted: () => true,
    dropped: () => {},
  } as unknown as ConstructorParameters<typeof SqlitePersistence>[0])
  next.open()
  const wills = await next.streamWill().toArray()
  await next.destroy()
  assert.deepEqual(
    wills.map(({ clientId, payload }) => [clientId, String(payload)]),
    [[press.name, 'gone']],
  )
})

test('of the wills of one client the latest is owed, and the others are counted and logged as dropped', async t => {
  const { broker, log } = await startStored(t)
  const watcher = await broker.connect(ben)
  const watched = collect(watcher)
  await watcher.subscribeAsync(topic, { qos: 1 })
  const first = await broker.connect(press, { will: willOf('first', 1) })
  const mend = await refuse(broker)
  await breakOff(broker, first)
  await breakOff(broker, await broker.connect(press, { will: willOf('second', 1) }))
  const third = await broker.connect(press, { will: willOf('third', 1) })
  await mend()
  await watched.until(1)
  assert.deepEqual(watched.payloads(), ['second'])
  assert.equal(broker.broker.counts.dropped['store-refused'], 1)
  assert.match(await readFile(log, 'utf8'), /"reason":"store-refused".*messages dropped/)
  // That of the client which is connected is in the store still, and comes when its connection breaks.
  assert.equal(String((await storeOf(broker).getWill({ id: press.name }))?.payload), 'third')
  third.stream.destroy()
  await watched.until(2)
  assert.deepEqual(watched.payloads(), ['second', 'third'])
})
