import assert from 'node:assert/strict'
import { once } from 'node:events'
import { appendFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { silentLogger } from '@faultline/runtime'
import { StoreError } from '../../telemetry/store.ts'
import { SqliteStore } from '../../telemetry/stores/sqlite.ts'
import { WriteQueue, type WriteQueueOptions } from '../../telemetry/write-queue.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { forever, inferencePoint, iso, noon } from './messages.ts'
import { ObservedStore } from './observed-store.ts'

const quick = { initialMs: 5, maximumMs: 20 }
const away = () => new StoreError('away')

async function openQueue(t: TestContext, options: Partial<WriteQueueOptions> = {}) {
  const store = new ObservedStore(new SqliteStore({ path: ':memory:', retention: forever }))
  const directory = options.spool?.directory ?? (await temporaryDirectory(t))
  const open = async () => {
    const queue = new WriteQueue({ store, logger: silentLogger, backOff: quick, spool: { directory }, ...options })
    t.after(() => queue.stop())
    await queue.start()
    return queue
  }
  t.after(() => store.stop())
  await store.start()
  const queue = await open()
  const addTo =
    (target: WriteQueue) =>
    (...ids: (string | number)[]) => {
      for (const id of ids) target.add(inferencePoint({ id: `${id}`, at: iso(noon + Number(id)) }))
    }
  const stored = async () => (await store.inferences({ limit: 10_000 })).map(row => Number(row.id)).reverse()
  /** Resolves once a write has failed and the queue pauses. */
  const failure = async () => {
    await once(store, 'failure')
    await nextTurn()
  }
  const files = async () => (await readdir(directory)).filter(name => name.endsWith('.ndjson')).sort()
  return { directory, store, queue, open, add: addTo(queue), addTo, stored, failure, files }
}

const upTo = (end: number): number[] => Array.from({ length: end }, (_, i) => i)
const nothing = { full: 0, age: 0, disk: 0 }

test('a full batch is written at once, the rest when it is old enough, and nothing stays on disk', async t => {
  const { store, queue, add, files } = await openQueue(t, { batch: { maxPoints: 10, maxDelayMs: 30 } })
  add(...upTo(10))
  await store.untilWritten(10)
  add(10, 11, 12)
  assert.equal(queue.length, 3)
  await store.untilWritten(13)
  await nextTurn()
  assert.deepEqual(store.batches, [10, 3])
  assert.deepEqual([queue.recorded, queue.length, queue.spool.bytes], [13, 0, 0])
  assert.deepEqual(await files(), [])
})

test('while the store is away points wait on disk, and are written in order when it is back', async t => {
  const { store, queue, add, stored, failure, files } = await openQueue(t, { batch: { maxPoints: 4, maxDelayMs: 1 } })
  const order: number[] = []
  store.on('write', points => order.push(...points.map(({ fields }) => Number(fields.id))))
  store.failWith = away
  add(...upTo(50))
  await failure()
  await failure()
  assert.equal(queue.recorded, 0)
  assert.equal(queue.length, 50)
  assert.match(queue.outage ?? '', /away/)
  // What waits is read back from the files: memory has the first batches only.
  assert.equal((await files()).length, 13)
  store.failWith = () => undefined
  await store.untilWritten(50)
  await nextTurn()
  assert.deepEqual(order, upTo(50))
  assert.deepEqual(await stored(), upTo(50))
  assert.deepEqual([queue.recorded, queue.length, queue.outage], [50, 0, undefined])
  assert.deepEqual(queue.spool.dropped, nothing)
})

test('a queue that ends without a goodbye loses nothing: the next one writes what it left, in order', async t => {
  const { store, queue, open, add, addTo, stored } = await openQueue(t, { batch: { maxPoints: 4, maxDelayMs: 60_000 } })
  store.failWith = away
  add(...upTo(10))
  // As a killed process: nothing is closed, flushed or said.
  const left = queue.length
  const next = await open()
  assert.deepEqual([left, next.length], [10, 10])
  addTo(next)(10, 11)
  await queue.stop()
  store.failWith = () => undefined
  await next.stop()
  assert.deepEqual(await stored(), upTo(12))
  assert.deepEqual(await (await open()).length, 0)
})

test('a full spool drops its oldest points and counts them', async t => {
  const directory = await temporaryDirectory(t)
  const size = Buffer.byteLength(`${JSON.stringify(inferencePoint({ id: '0' }))}\n`)
  const { store, queue, add, stored, failure } = await openQueue(t, {
    batch: { maxPoints: 2, maxDelayMs: 1 },
    spool: { directory, maxBytes: 5 * size + 100 },
  })
  store.failWith = away
  const failed = failure()
  add(0, 1)
  await failed
  add(2, 3, 4, 5, 6, 7)
  await failure()
  assert.equal(queue.length, 4)
  store.failWith = () => undefined
  await store.untilWritten(4)
  assert.deepEqual(await stored(), [4, 5, 6, 7])
  assert.deepEqual(queue.spool.dropped, { ...nothing, full: 4 })
})

test('a wall clock that is set makes no points old: while they wait, nor over a restart', async t => {
  const directory = await temporaryDirectory(t)
  const right = Date.now()
  t.mock.timers.enable({ apis: ['Date'], now: right })
  const { store, queue, add, addTo, open, failure, stored } = await openQueue(t, {
    batch: { maxPoints: 2, maxDelayMs: 1 },
    spool: { directory, maxAgeMs: 3_600_000 },
  })
  store.failWith = away
  add(0, 1)
  await failure()
  // What comes while the clock is in the past is not old once it is right.
  t.mock.timers.setTime(0)
  add(2, 3)
  await failure()
  t.mock.timers.setTime(right + 2 * 86_400_000)
  await failure()
  assert.deepEqual([queue.length, queue.spool.dropped], [4, nothing])
  await queue.stop()

  const next = await open()
  await failure()
  addTo(next)(4, 5)
  await failure()
  assert.deepEqual([next.length, next.spool.dropped], [6, nothing])
  assert.ok(next.spool.waitedMs! < 3_600_000)
  store.failWith = () => undefined
  await store.untilWritten(6)
  assert.deepEqual(await stored(), upTo(6))
})

test('points that wait too long are dropped and counted', async t => {
  const directory = await temporaryDirectory(t)
  const { store, queue, add, failure } = await openQueue(t, {
    batch: { maxPoints: 2, maxDelayMs: 1 },
    spool: { directory, maxAgeMs: -1 },
  })
  store.failWith = away
  const failed = failure()
  add(0, 1)
  await failed
  await nextTurn()
  assert.deepEqual([queue.length, queue.spool.dropped], [0, { ...nothing, age: 2 }])
})

test('a point that the store refuses for good is set aside with the reason, alone', async t => {
  const { directory, store, queue, add, stored } = await openQueue(t, { batch: { maxPoints: 100, maxDelayMs: 1 } })
  store.refuses = ({ fields }) => fields.id === '3' || fields.id === '40'
  add(...upTo(100))
  await store.untilWritten(98)
  await nextTurn()
  assert.deepEqual(
    await stored(),
    upTo(100).filter(id => id !== 3 && id !== 40),
  )
  assert.deepEqual([queue.recorded, queue.setAside.count, queue.length], [98, 2, 0])
  const lines = (await readFile(join(directory, 'set-aside.jsonl'), 'utf8')).trim().split('\n')
  assert.deepEqual(
    lines.map(line => JSON.parse(line)).map(({ reason, point }) => [reason, point.fields.id]),
    [
      ['wrong type', '3'],
      ['wrong type', '40'],
    ],
  )
})

test('a file torn by a power cut costs the torn line only', async t => {
  const { directory, store, queue, open, add, stored, failure, files } = await openQueue(t, {
    batch: { maxPoints: 3, maxDelayMs: 1 },
  })
  store.failWith = away
  const failed = failure()
  add(0, 1, 2)
  await failed
  await queue.stop()
  const [file] = await files()
  await appendFile(join(directory, file!), '{"measurement":"infer')
  await writeFile(join(directory, '999999999999.ndjson'), '\0\0\0\0\n')
  store.failWith = () => undefined
  const next = await open()
  await store.untilWritten(3)
  await next.stop()
  assert.deepEqual(await stored(), [0, 1, 2])
  assert.deepEqual([next.setAside.count, next.length], [2, 0])
})

test('points that the disk does not take are refused, nothing of them is kept, and others are taken when it does', async t => {
  const { directory, queue, add, stored, files } = await openQueue(t, { batch: { maxPoints: 2, maxDelayMs: 1 } })
  // A directory in the place of the next file is as good as a full disk.
  const obstacles = [join(directory, '000000000001.ndjson'), join(directory, 'probe')]
  for (const obstacle of obstacles) await mkdir(obstacle)
  assert.throws(() => add(0), { code: 'DATABASE_FAILED' })
  assert.equal(queue.length, 0)
  assert.match(queue.spool.failure ?? '', /EISDIR/)
  assert.equal(queue.spool.hasRoom(), false)
  for (const obstacle of obstacles) await rm(obstacle, { recursive: true })
  assert.equal(queue.spool.hasRoom(), true)
  assert.equal(queue.spool.failure, undefined)
  add(0, 1)
  await queue.stop()
  assert.deepEqual(await stored(), [0, 1])
  assert.deepEqual([queue.spool.dropped, await files()], [nothing, []])
})

test('a line that is no point is set aside, and does not keep the store from the others', async t => {
  const { directory, store, queue, open, add, stored, failure, files } = await openQueue(t, {
    batch: { maxPoints: 3, maxDelayMs: 1 },
  })
  store.failWith = away
  const failed = failure()
  add(0, 1, 2)
  await failed
  await queue.stop()
  const [file] = await files()
  const hostile = ['null', '7', '{"measurement":"nothing"}', '{"measurement":"state","tags":null,"fields":{}}']
  await appendFile(join(directory, file!), hostile.map(line => `${line}\n`).join(''))
  store.failWith = () => undefined
  const next = await open()
  await store.untilWritten(3)
  await next.stop()
  assert.deepEqual(await stored(), [0, 1, 2])
  assert.deepEqual([next.setAside.count, next.length], [hostile.length, 0])
})

test('a file of the spool that cannot be read is set aside, counted, and does not hold up the others', async t => {
  const { directory, store, queue, open, add, stored, failure, files } = await openQueue(t, {
    batch: { maxPoints: 2, maxDelayMs: 1 },
  })
  store.failWith = away
  const failed = failure()
  add(...upTo(8))
  await failed
  await queue.stop()
  const [first, , third] = await files()
  // Unreadable at the start, and unreadable only when its turn comes.
  await rm(join(directory, first!))
  await mkdir(join(directory, first!))
  const next = await open()
  await rm(join(directory, third!))
  await mkdir(join(directory, third!))
  store.failWith = () => undefined
  await store.untilWritten(4)
  await next.stop()
  assert.deepEqual(await stored(), [2, 3, 6, 7])
  assert.equal(next.spool.damagedFiles, 2)
  assert.deepEqual(next.spool.dropped, { ...nothing, disk: 2 })
  const names = await readdir(directory)
  for (const file of [first, third])
    assert.ok(
      names.some(name => name.startsWith(`${file}.damaged-`)),
      names.join(),
    )
})

test('what cannot be set aside stays in the spool until it can', async t => {
  const { directory, store, queue, add, stored } = await openQueue(t, { batch: { maxPoints: 2, maxDelayMs: 1 } })
  store.refuses = ({ fields }) => fields.id === '1'
  const file = join(directory, 'set-aside.jsonl')
  await mkdir(file)
  const outage = once(store, 'write').then(nextTurn)
  add(0, 1)
  await outage
  assert.deepEqual([queue.length, queue.setAside.count], [2, 0])
  assert.match(queue.outage ?? '', /set-aside/)
  await rm(file, { recursive: true })
  await queue.whenWritten()
  assert.deepEqual([queue.length, queue.setAside.count, queue.outage], [0, 1, undefined])
  assert.match(await readFile(file, 'utf8'), /"reason":"wrong type"/)
  assert.deepEqual(await stored(), [0])
})

test('stopping writes what is waiting, however little', async t => {
  const { queue, add, stored } = await openQueue(t, { batch: { maxPoints: 4, maxDelayMs: 60_000 } })
  add(0, 1, 2)
  await queue.stop()
  assert.deepEqual(await stored(), [0, 1, 2])
})

test('stopping while the store is away ends soon and keeps what waits for the next start', async t => {
  const slow = { initialMs: 60_000, maximumMs: 60_000 }
  const batch = { maxPoints: 2, maxDelayMs: 1 }
  const { store, queue, open, add, stored, failure } = await openQueue(t, { batch, backOff: slow })
  store.failWith = away
  const failed = failure()
  add(0, 1, 2)
  await failed
  await queue.stop()
  store.failWith = () => undefined
  const next = await open()
  await store.untilWritten(3)
  assert.deepEqual(await stored(), [0, 1, 2])
  assert.deepEqual(next.spool.dropped, nothing)
})
