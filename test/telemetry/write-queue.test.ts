import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { silentLogger } from '@faultline/runtime'
import { StoreError } from '../../telemetry/store.ts'
import { SqliteStore } from '../../telemetry/stores/sqlite.ts'
import { WriteQueue, type WriteQueueOptions } from '../../telemetry/write-queue.ts'
import { inferencePoint, iso, noon } from './messages.ts'
import { ObservedStore } from './observed-store.ts'

const quick = { initialMs: 5, maximumMs: 20 }
const away = () => new StoreError('away')

async function openQueue(t: TestContext, options: Partial<WriteQueueOptions> = {}) {
  const store = new ObservedStore(new SqliteStore({ path: ':memory:' }))
  const queue = new WriteQueue({ store, logger: silentLogger, backOff: quick, ...options })
  t.after(async () => {
    await queue.stop()
    await store.stop()
  })
  await store.start()
  await queue.start()
  const add = (...ids: (string | number)[]) => {
    for (const id of ids) queue.add(inferencePoint({ id: `${id}`, at: iso(noon + Number(id)) }))
  }
  const stored = async () => (await store.inferences({ limit: 10_000 })).map(row => Number(row.id)).reverse()
  /** Resolves once a write has failed and the queue pauses. */
  const failure = async () => {
    await once(store, 'failure')
    await nextTurn()
  }
  return { store, queue, add, stored, failure }
}

const upTo = (end: number): number[] => Array.from({ length: end }, (_, i) => i)

test('a full batch is written at once, the rest when it is old enough', async t => {
  const { store, queue, add } = await openQueue(t, { batch: { maxPoints: 10, maxDelayMs: 30 } })
  add(...upTo(10))
  await store.untilWritten(10)
  add(10, 11, 12)
  assert.equal(queue.length, 3)
  await store.untilWritten(13)
  assert.deepEqual(store.batches, [10, 3])
  assert.deepEqual(queue.counts, { recorded: 13, dropped: 0 })
})

test('while the store is away points wait, and are written in order when it is back', async t => {
  const { store, queue, add, stored, failure } = await openQueue(t, { batch: { maxPoints: 4, maxDelayMs: 1 } })
  store.failWith = away
  add(...upTo(10))
  await failure()
  await failure()
  assert.equal(queue.counts.recorded, 0)
  assert.equal(queue.length, 10)
  store.failWith = () => undefined
  await store.untilWritten(10)
  assert.deepEqual(await stored(), upTo(10))
  assert.deepEqual(queue.counts, { recorded: 10, dropped: 0 })
})

test('a full queue drops its oldest points and counts them', async t => {
  const batch = { maxPoints: 2, maxDelayMs: 1 }
  const { store, queue, add, stored, failure } = await openQueue(t, { batch, capacity: 5 })
  store.failWith = away
  const failed = failure()
  add(0, 1)
  await failed
  add(2, 3, 4, 5, 6, 7)
  assert.equal(queue.length, 5)
  store.failWith = () => undefined
  await store.untilWritten(5)
  assert.deepEqual(await stored(), [3, 4, 5, 6, 7])
  assert.deepEqual(queue.counts, { recorded: 5, dropped: 3 })
})

test('a point that the store refuses for good is dropped alone', async t => {
  const { store, queue, add, stored } = await openQueue(t, { batch: { maxPoints: 100, maxDelayMs: 1 } })
  store.failWith = points =>
    points.some(({ fields }) => fields.id === '3' || fields.id === '40')
      ? new StoreError('wrong type', { retryable: false })
      : undefined
  add(...upTo(100))
  await store.untilWritten(98)
  assert.deepEqual(
    await stored(),
    upTo(100).filter(id => id !== 3 && id !== 40),
  )
  assert.deepEqual(queue.counts, { recorded: 98, dropped: 2 })
})

test('stopping writes what is waiting, however little', async t => {
  const { queue, add, stored } = await openQueue(t, { batch: { maxPoints: 4, maxDelayMs: 60_000 } })
  add(0, 1, 2)
  await queue.stop()
  assert.deepEqual(await stored(), [0, 1, 2])
})

test('stopping while the store is away ends soon and counts what is lost', async t => {
  const slow = { initialMs: 60_000, maximumMs: 60_000 }
  const batch = { maxPoints: 2, maxDelayMs: 1 }
  const { store, queue, add, failure } = await openQueue(t, { batch, backOff: slow })
  store.failWith = away
  const failed = failure()
  add(0, 1, 2)
  await failed
  await queue.stop()
  assert.deepEqual(queue.counts, { recorded: 0, dropped: 3 })
  assert.equal(queue.length, 0)
})
