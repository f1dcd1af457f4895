import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createLogger, setAsideOf } from '@faultline/runtime'
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
