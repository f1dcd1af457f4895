import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createLogger, openReadOnly, setAsideOf } from '@faultline/runtime'
import type { SqlitePersistence } from '../../broker/persistence/sqlite.ts'
import { SmallDisk } from '../support/small-disk.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { anna, collect, press, pump, startBroker, type TestBroker } from './harness.ts'

const inference = `faultline/v1/${press.name}/points/de/inference`
const state = `faultline/v1/${pump.name}/state`
const diskBytes = 4_194_304
const stored = { clientId: `${anna.name}/tool`, clean: false }

const damages: Record<string, (store: string) => Promise<void>> = {
  'has random bytes': store => writeFile(store, randomBytes(50_000)),
  'was cut short': async store => truncate(store, Math.floor((await readFile(store)).length / 2)),
  'has zero bytes': store => truncate(store, 0),
}

/** A store in which a session has one message waiting. */
async function leaveStore(t: TestContext, store: string): Promise<void> {
  const { broker, connect } = await startBroker(t, { store })
  const tool = await connect(anna, stored)
  await tool.subscribeAsync(inference, { qos: 1 })
  await tool.endAsync()
  const device = await connect(press)
  await device.publishAsync(inference, 'lost', { qos: 1 })
  await broker.stop()
}

for (const [how, damage] of Object.entries(damages)) {
  test(`a broker whose store ${how} sets it aside, says so and serves`, async t => {
    const directory = await temporaryDirectory(t)
    const [store, log] = [join(directory, 'broker.db'), join(directory, 'log')]
    await leaveStore(t, store)
    await damage(store)
    const { broker, connect } = await startBroker(t, { store, logger: createLogger('broker', { file: log }) })
    assert.equal(setAsideOf(store).length, 1)
    assert.equal(broker.counts.damagedStores, 1)
    assert.deepEqual(broker.notReady(), [])
    const lines = (await readFile(log, 'utf8')).split('\n').filter(line => line.includes('"code":"DATABASE_FAILED"'))
    assert.equal(lines.length, 1)
    assert.match(lines[0]!, /"sessions":.*"messages":.*"the store was damaged: set aside, and a new one made"/)
    const tool = await connect(anna, stored)
    const received = collect(tool)
    await tool.subscribeAsync(inference, { qos: 1 })
    const device = await connect(press)
    await device.publishAsync(inference, 'kept', { qos: 1 })
    await received.until(1)
    assert.deepEqual(received.payloads(), ['kept'])
  })
}

/** Serves QoS 0, refuses QoS 1 that has to be stored, and takes it again once there is room. */
async function outliveFullDisk({ broker, connect }: TestBroker, disk: SmallDisk): Promise<void> {
  const watcher = await connect(anna, { clientId: 'watcher' })
  const watched = collect(watcher)
  await watcher.subscribeAsync(inference, { qos: 0 })
  const device = await connect(press)
  await device.publishAsync(inference, 'live', { qos: 0 })
  await watched.until(1)
  const closed = new Promise<void>(resolve => device.once('close', () => resolve()))
  const retained = { qos: 1, retain: true } as const
  device.publishAsync(inference, 'refused', retained).catch(() => {}) // Never acknowledged; it fails when the client ends.
  await closed
  assert.match(broker.notReady().join(), /the disk is full/)
  assert.notEqual(broker.counts.storeErrors.full, 0)
  const writable = once(broker.engine!.persistence as SqlitePersistence, 'writable')
  disk.resize(diskBytes)
  await writable
  assert.deepEqual(broker.notReady(), [])
  await (await connect(press)).publishAsync(inference, 'kept', retained)
}

/** What another process finds in a store. */
function readTopics(store: string): unknown[] {
  const reader = openReadOnly(store)
  const rows = reader.prepare("SELECT topic FROM retained WHERE topic NOT LIKE '$SYS/%'").all()
  reader.close()
  return rows.map(({ topic }) => topic)
}

test('a broker starts on a full disk, serves what needs no store, and recovers by itself', async t => {
  const disk = await SmallDisk.make(t, diskBytes)
  if (!disk) return t.skip('needs the right to mount')
  const store = join(disk.directory, 'broker.db')
  await leaveStore(t, store)
  disk.fill()
  const broker = await startBroker(t, { store })
  await outliveFullDisk(broker, disk)
  const received = collect(await broker.connect(anna, stored))
  await received.until(2)
  assert.deepEqual(received.payloads(), ['lost', 'kept'])
  assert.deepEqual(readTopics(store), [inference])
})

test('a broker without a store starts on a full disk, serves what needs none, and makes it once there is room', async t => {
  const disk = await SmallDisk.make(t, diskBytes)
  if (!disk) return t.skip('needs the right to mount')
  await writeFile(join(disk.directory, 'filler'), Buffer.alloc(1_000_000))
  disk.fill()
  const store = join(disk.directory, 'broker.db')
  const will = { topic: state, payload: Buffer.from('gone'), qos: 1, retain: true } as const
  const first = await startBroker(t, { store })
  await first.connect(pump, { will })
  const tool = await first.connect(anna, stored)
  await assert.rejects(tool.subscribeAsync(inference, { qos: 1 }), /Subscribe error/)
  await outliveFullDisk(first, disk)
  // What was owed meanwhile is in the store now.
  assert.equal(String((await first.broker.engine!.persistence.getWill({ id: pump.name }))?.payload), 'gone')
  await tool.subscribeAsync(inference, { qos: 1 })
  await tool.endAsync()
  await (await first.connect(press)).publishAsync(inference, 'queued', { qos: 1 })
  assert.deepEqual(readTopics(store), [inference])
  await first.broker.stop()

  const second = await startBroker(t, { store })
  const received = collect(await second.connect(anna, stored))
  await received.until(2)
  assert.deepEqual(received.payloads(), ['kept', 'queued'])
})
