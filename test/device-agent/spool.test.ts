import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { FaultlineError } from '@faultline/protocol'
import { Spool } from '../../device-agent/spool/spool.ts'
import { openStorage } from '../../device-agent/spool/storage.ts'
import { temporaryDirectory } from '../support/temp.ts'

const topic = 'faultline/v1/devices/plant-a/pi-1/points/motor-de/inference'

async function openSpool(t: TestContext, maximum?: number) {
  const directory = await temporaryDirectory(t)
  const database = openStorage(directory)
  t.after(() => database.isOpen && database.close())
  return { directory, database, spool: new Spool(database, maximum) }
}

const texts = (spool: Spool, after = 0): string[] => spool.after(after, 100).map(({ payload }) => payload.toString())

test('messages come back in the order they were added, in pages', async t => {
  const { spool } = await openSpool(t)
  for (const text of ['a', 'b', 'c']) spool.add('inference', topic, Buffer.from(text))
  const [first, second] = spool.after(0, 2)
  assert.deepEqual([first?.payload.toString(), second?.payload.toString()], ['a', 'b'])
  assert.deepEqual(texts(spool, second!.seq), ['c'])
  assert.equal(first?.topic, topic)
})

test('an acknowledged message is gone at once, and from the disk with the next one', async t => {
  const { database, spool } = await openSpool(t)
  spool.add('inference', topic, Buffer.from('a'))
  spool.add('inference', topic, Buffer.from('b'))
  spool.acknowledge(spool.after(0, 1)[0]!.seq)
  assert.equal(spool.size, 1)
  assert.deepEqual(texts(spool), ['b'])
  spool.add('inference', topic, Buffer.from('c'))
  const { rows } = database.prepare('SELECT count(*) AS rows FROM messages').get() as { rows: number }
  assert.equal(rows, 2)
})

test('a restart keeps what was not acknowledged', async t => {
  const { directory, database, spool } = await openSpool(t)
  for (const text of ['a', 'b', 'c']) spool.add('inference', topic, Buffer.from(text))
  spool.acknowledge(spool.after(0, 1)[0]!.seq)
  spool.flush()
  database.close()
  const again = openStorage(directory)
  t.after(() => again.close())
  const reopened = new Spool(again)
  assert.equal(reopened.size, 2)
  reopened.add('inference', topic, Buffer.from('d'))
  assert.deepEqual(texts(reopened), ['b', 'c', 'd'])
})

test('a full spool gives up the oldest inference first and counts it', async t => {
  const { spool } = await openSpool(t, 3)
  spool.add('summary', topic, Buffer.from('summary'))
  for (const text of ['a', 'b', 'c', 'd']) spool.add('inference', topic, Buffer.from(text))
  assert.deepEqual(texts(spool), ['summary', 'c', 'd'])
  assert.equal(spool.dropped, 2)
  assert.equal(spool.size, 3)
})

test('a full spool without inferences gives up the oldest message', async t => {
  const { spool } = await openSpool(t, 2)
  for (const text of ['a', 'b', 'c']) spool.add('summary', topic, Buffer.from(text))
  assert.deepEqual(texts(spool), ['b', 'c'])
})

test('a message that the full spool gave up while it was under way is counted once', async t => {
  const { spool } = await openSpool(t, 3)
  const add = (text: string) => spool.add('inference', topic, Buffer.from(text))
  for (const text of ['a', 'b', 'c']) add(text)
  const underWay = spool.after(0, 3)
  for (const text of ['d', 'e']) add(text)
  for (const { seq } of underWay) spool.acknowledge(seq)
  assert.equal(spool.size, 2)
  assert.deepEqual(texts(spool), ['d', 'e'])
  add('f')
  assert.equal(spool.size, 3)
})

test('a spool that empties while nothing new comes is shortened on disk too', async t => {
  const { database, spool } = await openSpool(t)
  for (let i = 0; i < 300; i++) spool.add('inference', topic, Buffer.from('a'))
  for (const { seq } of spool.after(0, 299)) spool.acknowledge(seq)
  const { rows } = database.prepare('SELECT count(*) AS rows FROM messages').get() as { rows: number }
  assert.ok(rows < 100, `${rows} of 300 would be sent again after a crash`)
  assert.equal(spool.size, 1)
})

test('a number is not given twice while the spool is open', async t => {
  const { spool } = await openSpool(t)
  spool.add('inference', topic, Buffer.from('a'))
  const first = spool.after(0, 1)[0]!.seq
  spool.acknowledge(first)
  spool.flush()
  spool.add('inference', topic, Buffer.from('b'))
  assert.deepEqual(texts(spool, first), ['b'])
})

test('a database that fails gives a coded error and loses nothing that was counted', async t => {
  const { database, spool } = await openSpool(t)
  spool.add('inference', topic, Buffer.from('a'))
  spool.acknowledge(spool.after(0, 1)[0]!.seq)
  database.close()
  assert.throws(
    () => spool.add('inference', topic, Buffer.from('b')),
    (error: unknown) => error instanceof FaultlineError && error.code === 'DATABASE_FAILED',
  )
  assert.equal(spool.size, 0)
})
