import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createLogger, setAsideOf } from '@faultline/runtime'
import type { SqlitePersistence } from '../../broker/persistence/sqlite.ts'
import { SmallDisk } from '../support/small-disk.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { anna, collect, press, startBroker } from './harness.ts'

const inference = `faultline/v1/${press.name}/points/de/inference`
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

test('a broker starts on a full disk, serves what needs no store, and recovers by itself', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'faultline-full-'))
  const disk = SmallDisk.mount(directory, 4_194_304)
  if (!disk) return t.skip('this process may not mount')
  const store = join(directory, 'broker.db')
  await leaveStore(t, store)
  disk.fill()
  const { broker, connect } = await startBroker(t, { store })
  // After the broker, which has a file on it.
  t.after(async () => {
    disk.unmount()
    await rm(directory, { recursive: true })
  })
  const watcher = await connect(anna, { clientId: 'watcher' })
  const watched = collect(watcher)
  await watcher.subscribeAsync(inference, { qos: 0 })
  const device = await connect(press)
  await device.publishAsync(inference, 'live', { qos: 0 })
  await watched.until(1)
  const closed = new Promise<void>(resolve => device.once('close', () => resolve()))
  device.publishAsync(inference, 'refused', { qos: 1 }).catch(() => {}) // Never acknowledged; it fails when the client ends.
  await closed
  assert.match(broker.notReady().join(), /the disk is full/)
  const writable = once(broker.engine!.persistence as SqlitePersistence, 'writable')
  disk.resize(4_194_304)
  await writable
  assert.deepEqual(broker.notReady(), [])
  await (await connect(press)).publishAsync(inference, 'kept', { qos: 1 })
  const received = collect(await connect(anna, stored))
  await received.until(2)
  assert.deepEqual(received.payloads(), ['lost', 'kept'])
})
