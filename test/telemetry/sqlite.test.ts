import assert from 'node:assert/strict'
import { open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { StoreError } from '../../telemetry/store.ts'
import { SqliteStore } from '../../telemetry/stores/sqlite.ts'
import { withCode } from '../inference/bundles.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { forever, inferencePoint, iso, noon, samplePoint } from './messages.ts'
import { testStore } from './store-suite.ts'

testStore('sqlite', {
  skip: false,
  async open(t, retention = forever) {
    const store = new SqliteStore({
      path: join(await temporaryDirectory(t), 'data', 'telemetry.sqlite'),
      retention,
    })
    t.after(() => store.stop())
    await store.start()
    return store
  },
})

test('sqlite: a store that is only read has to be there, and is left as it is while another writes it', async t => {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'telemetry.sqlite')
  const reader = new SqliteStore({ path, readOnly: true, retention: forever })
  t.after(() => reader.stop())
  const missing = withCode('STORE_NOT_FOUND')
  await assert.rejects(reader.start(), missing)
  assert.deepEqual(await readdir(directory), [])
  for (const [name, content] of [
    ['text', 'no database at all, and long enough to be told apart from an empty one'],
    ['empty', ''],
  ] as const) {
    const other = join(directory, name)
    await writeFile(other, content)
    await assert.rejects(new SqliteStore({ path: other, readOnly: true }).start(), missing)
    assert.equal(await readFile(other, 'utf8'), content)
  }

  const writer = new SqliteStore({ path, retention: forever })
  t.after(() => writer.stop())
  await writer.start()
  await writer.write([inferencePoint()])
  await reader.start()
  assert.equal((await reader.inferences()).length, 1)
  await writer.write([inferencePoint()])
  assert.equal((await reader.inferences()).length, 2)
  await assert.rejects(reader.write([inferencePoint()]), withCode('STORE_FAILED'))
})

test('sqlite: points older than the retention go on start, newer ones stay', async t => {
  const path = join(await temporaryDirectory(t), 'telemetry.sqlite')
  const day = 86_400_000
  const writer = new SqliteStore({ path, retention: forever })
  await writer.start()
  const old = Array.from({ length: 4_500 }, (_, i) => inferencePoint({ at: iso(Date.now() - 10 * day - i) }))
  await writer.write([...old, inferencePoint({ id: 'new', at: iso(Date.now() - 2 * day) }), samplePoint('health')])
  await writer.stop()

  const store = new SqliteStore({ path, retention: { ...forever, rawDays: 7 } })
  t.after(() => store.stop())
  await store.start()
  assert.deepEqual(
    (await store.inferences()).map(row => row.id),
    ['new'],
  )
  // A series that was pruned away can be written again.
  const health = { ...samplePoint('health'), time: Date.now() - day }
  assert.deepEqual(await store.write([health]), [])
  assert.equal(
    (await store.series({ measurement: 'health', field: 'errors', since: 0, every: 9e11, tier: 'raw' })).length,
    1,
  )
})

test('sqlite: a wall clock that is set ahead deletes and refuses nothing, after a restart neither', async t => {
  const path = join(await temporaryDirectory(t), 'telemetry.sqlite')
  const day = 86_400_000
  const right = Date.now()
  t.mock.timers.enable({ apis: ['Date'], now: right })
  const open = async () => {
    const store = new SqliteStore({ path, retention: { ...forever, rawDays: 7, minuteDays: 7 } })
    t.after(() => store.stop())
    await store.start()
    return store
  }
  const first = await open()
  assert.deepEqual(await first.write([inferencePoint({ id: 'before', at: iso(right - 6 * day) })]), [])
  await first.stop()

  t.mock.timers.setTime(right + 10 * day)
  const store = await open()
  const [during] = await store.write([inferencePoint({ id: 'during', at: iso(right - day) })])
  assert.equal(during, undefined)
  t.mock.timers.setTime(right)
  assert.deepEqual(
    (await store.inferences()).map(row => row.id),
    ['during', 'before'],
  )
})

test('sqlite: points that are further ahead than points are kept are refused, with the reason', async t => {
  const store = new SqliteStore({ path: ':memory:', retention: { ...forever, rawDays: 7 } })
  t.after(() => store.stop())
  await store.start()
  const day = 86_400_000
  const [ahead, tooFar] = [6, 8].map(days => inferencePoint({ id: `${days}`, at: iso(Date.now() + days * day) }))
  const refused = await store.write([ahead!, tooFar!])
  assert.deepEqual(refused, [{ point: tooFar, reason: 'more than 7 days ahead of this clock' }])
  assert.deepEqual(
    (await store.inferences()).map(row => row.id),
    ['6'],
  )
  // A recorder whose own clock has gone back takes what is right.
  t.mock.timers.enable({ apis: ['Date'], now: 0 })
  assert.deepEqual(await store.write([ahead!]), [])
})

test('sqlite: what is to be rolled up is known after a restart', async t => {
  const path = join(await temporaryDirectory(t), 'telemetry.sqlite')
  const writer = new SqliteStore({ path, retention: forever })
  await writer.start()
  await writer.write([inferencePoint()])
  await writer.stop()
  const store = new SqliteStore({ path, retention: forever })
  t.after(() => store.stop())
  await store.start()
  await store.rollUp(0, 0)
  const query = { measurement: 'inference', field: 'latencyMs', since: 0, every: 3_600_000_000, tier: 'hours' } as const
  assert.equal((await store.series(query))[0]?.mean, 12.5)
})

test('sqlite: another process reads while the recorder writes', async t => {
  const path = join(await temporaryDirectory(t), 'telemetry.sqlite')
  const writer = new SqliteStore({ path, retention: forever })
  const reader = new SqliteStore({ path, retention: forever })
  t.after(() => Promise.all([writer.stop(), reader.stop()]))
  await writer.start()
  await reader.start()
  await writer.write([inferencePoint()])
  assert.deepEqual(await reader.counts({ groupBy: [] }), [{ count: 1 }])
})

test('sqlite: a path that can be no database, and a store that is not started, give STORE_FAILED', async t => {
  const directory = await temporaryDirectory(t)
  const failed = (error: unknown) => error instanceof StoreError && error.code === 'STORE_FAILED' && error.retryable
  await assert.rejects(new SqliteStore({ path: directory, retention: forever }).start(), failed)
  await assert.rejects(new SqliteStore({ path: ':memory:' }).write([inferencePoint()]), failed)
  await assert.rejects(new SqliteStore({ path: ':memory:' }).inferences(), failed)
})

/** Damage, by its name. */
const damages: Record<string, (path: string) => Promise<void>> = {
  'is no database': path =>
    writeFile(path, 'this is not a database, and it is long enough to be seen as one '.repeat(20)),
  'has zero bytes': path => writeFile(path, ''),
}

for (const [name, damage] of Object.entries(damages)) {
  test(`sqlite: a file that ${name} is set aside at the start, counted, and a new one takes points`, async t => {
    const directory = await temporaryDirectory(t)
    const path = join(directory, 'telemetry.sqlite')
    await damage(path)
    const store = new SqliteStore({ path, retention: forever })
    t.after(() => store.stop())
    await store.start()
    await store.write([inferencePoint()])
    assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 1 }])
    assert.equal(store.upkeep.setAside, 1)
    assert.ok((await readdir(directory)).some(file => file.startsWith('telemetry.sqlite.damaged-')))
  })
}

test('sqlite: damage that a write meets sets the file aside, and the write is in the new one', async t => {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'telemetry.sqlite')
  const store = new SqliteStore({ path, retention: forever })
  t.after(() => store.stop())
  await store.start()
  const points = Array.from({ length: 10_000 }, (_, i) => inferencePoint({ id: `${i}`, at: iso(noon + i) }))
  await store.write(points)
  // Into the file, so that nothing of it lies in the write-ahead log. It is larger than what SQLite keeps in memory.
  await store.stop()
  await store.start()
  const file = await open(path, 'r+')
  const { size } = await file.stat()
  await file.write(Buffer.alloc(size - 4_096, 0x5a), 0, size - 4_096, 4_096)
  await file.close()
  await store.write([inferencePoint({ id: 'after', at: iso(noon + 1) })])
  assert.deepEqual(
    (await store.inferences()).map(({ id }) => id),
    ['after'],
  )
  assert.equal(store.upkeep.setAside, 1)
})

test('sqlite: a write finds the disk that the start did not', async t => {
  const directory = await temporaryDirectory(t)
  const place = join(directory, 'disk')
  await writeFile(place, '')
  const store = new SqliteStore({ path: join(place, 'telemetry.sqlite'), retention: forever })
  t.after(() => store.stop())
  await assert.rejects(store.start(), StoreError)
  await assert.rejects(store.write([inferencePoint()]), StoreError)
  await rm(place)
  await store.write([inferencePoint()])
  assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 1 }])
})
