import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { TopicAddress } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { Outbox } from '../../device-agent/spool/outbox.ts'
import { Spool } from '../../device-agent/spool/spool.ts'
import { openStorage } from '../../device-agent/spool/storage.ts'
import { temporaryDirectory } from '../support/temp.ts'

const address = { kind: 'inference', site: 'plant-a', device: 'pi-1', point: 'motor-de' } as const

/** A connection whose acknowledgements come when the test says so. */
class HeldPublisher {
  online = true
  readonly published: string[] = []
  readonly waiting: { acknowledge: () => void; fail: () => void }[] = []

  publishRaw(_: TopicAddress, payload: Buffer): Promise<void> {
    this.published.push(payload.toString())
    return new Promise((resolve, reject) => {
      this.waiting.push({ acknowledge: resolve, fail: () => reject(new Error('connection lost')) })
    })
  }
}

async function openOutbox(t: TestContext) {
  const database = openStorage(await temporaryDirectory(t))
  t.after(() => database.isOpen && database.close())
  const spool = new Spool(database)
  const publisher = new HeldPublisher()
  return { database, spool, publisher, outbox: new Outbox(spool, publisher, silentLogger, 3) }
}

const settle = () => new Promise(resolve => setImmediate(resolve))
const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i))

test('what was spooled while offline is sent in order, a few at a time', async t => {
  const { spool, publisher, outbox } = await openOutbox(t)
  publisher.online = false
  for (const text of numbers(10)) outbox.send(address, Buffer.from(text))
  assert.deepEqual(publisher.published, [])
  publisher.online = true
  outbox.pump()
  assert.deepEqual(publisher.published, ['0', '1', '2'])
  while (spool.size > 0) {
    publisher.waiting.shift()?.acknowledge()
    await settle()
    assert.ok(publisher.waiting.length <= 3)
  }
  assert.deepEqual(publisher.published, numbers(10))
})

test('a message that the broker did not take is sent again, and only that one', async t => {
  const { spool, publisher, outbox } = await openOutbox(t)
  for (const text of ['a', 'b', 'c']) outbox.send(address, Buffer.from(text))
  const [a, b, c] = publisher.waiting
  a!.acknowledge()
  b!.fail()
  await settle()
  outbox.pump()
  assert.deepEqual(publisher.published, ['a', 'b', 'c', 'b'])
  c!.acknowledge()
  publisher.waiting[3]!.acknowledge()
  await settle()
  assert.equal(spool.size, 0)
})

test('a drained outbox says so', async t => {
  const { publisher, outbox } = await openOutbox(t)
  outbox.send(address, Buffer.from('a'))
  const drained = outbox.drained(10_000).then(() => 'drained')
  publisher.waiting[0]!.acknowledge()
  assert.equal(await drained, 'drained')
})

test('a message that cannot be written to disk is sent all the same', async t => {
  const { database, publisher, outbox } = await openOutbox(t)
  database.close()
  outbox.send(address, Buffer.from('a'))
  assert.deepEqual(publisher.published, ['a'])
})

test('a spool that cannot be read disturbs nobody', async t => {
  const { database, publisher, outbox } = await openOutbox(t)
  publisher.online = false
  outbox.send(address, Buffer.from('a'))
  database.close()
  publisher.online = true
  outbox.pump()
  assert.deepEqual(publisher.published, [])
})

test('an outbox is not drained while messages wait, whatever the full spool gave up before', async t => {
  const database = openStorage(await temporaryDirectory(t))
  t.after(() => database.close())
  const publisher = new HeldPublisher()
  const outbox = new Outbox(new Spool(database, 3), publisher, silentLogger, 3)
  for (const text of numbers(6)) outbox.send(address, Buffer.from(text))
  for (const { acknowledge } of publisher.waiting.splice(0)) acknowledge()
  await settle()
  let drained = false
  const done = outbox.drained(10_000).then(() => {
    drained = true
  })
  await settle()
  assert.equal(drained, false)
  for (const { acknowledge } of publisher.waiting.splice(0)) acknowledge()
  await done
})
