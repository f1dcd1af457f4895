import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { test } from 'node:test'
import { isRejected, type Verdict } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { BatchTimes } from '../../server-agent/batch-times.ts'
import { Dispatcher, type DispatcherOptions } from '../../server-agent/dispatcher.ts'
import type { QueuedEscalation } from '../../server-agent/queue.ts'
import { FakeHost, type ItemChanges, queued } from './fake-host.ts'

/** A dispatcher whose verdicts a test can wait for. */
function dispatch(host: FakeHost, options: Partial<DispatcherOptions> = {}) {
  const verdicts = new Map<string, Verdict>()
  const twice: string[] = []
  const heard = new EventEmitter()
  const dispatcher = new Dispatcher({
    agent: 'server-1',
    host,
    maxBatch: 32,
    maxQueue: 256,
    maxQueueBytes: 1_000_000,
    maxDelayMs: 0,
    answer: ({ escalation: { id } }, verdict) => {
      if (verdicts.has(id)) twice.push(id)
      verdicts.set(id, verdict)
      heard.emit('verdict')
    },
    freeMemory: () => 0.5,
    logger: silentLogger,
    ...options,
  })
  const offer = (changes?: ItemChanges) => {
    const item = queued(changes)
    dispatcher.offer(item)
    return item
  }
  const offerAll = (count: number, changes?: ItemChanges) => Array.from({ length: count }, () => offer(changes))
  const verdictOf = async (item: QueuedEscalation): Promise<Verdict> => {
    for (;;) {
      const verdict = verdicts.get(item.escalation.id)
      assert.deepEqual(twice, [], 'an escalation got two verdicts')
      if (verdict) return verdict
      await once(heard, 'verdict', { signal: AbortSignal.timeout(20_000) })
    }
  }
  /** `answered`, or why it was rejected; undefined so far. */
  const outcomeOf = ({ escalation: { id } }: QueuedEscalation) => {
    assert.deepEqual(twice, [], 'an escalation got two verdicts')
    const verdict = verdicts.get(id)
    return verdict && (isRejected(verdict) ? verdict.rejected : 'answered')
  }
  return { dispatcher, offer, offerAll, verdictOf, outcomeOf }
}

const sizes = (host: FakeHost) => host.begun.map(({ jobs }) => jobs.length)

/** Batches of any size take so long. */
const taking = (msPerWindow: number) => () =>
  new BatchTimes([1, 2, 4, 8].map(batch => ({ batch, ms: batch * msPerWindow * (1 + 0.2 / batch) })))

test('what waits is divided among the workers that are free', async () => {
  const host = new FakeHost({ workers: 3 })
  const { offerAll, verdictOf } = dispatch(host)
  const items = offerAll(10)
  for (const { answer } of await host.batches(3)) answer()
  await Promise.all(items.map(verdictOf))
  assert.deepEqual(sizes(host), [4, 3, 3])
  assert.deepEqual(
    host.begun.map(({ worker }) => worker),
    [0, 1, 2],
  )
})

test('models of several tasks work side by side, each on batches of its own', async () => {
  const host = new FakeHost({ workers: 2, tasks: ['one', 'two'] })
  const { offerAll } = dispatch(host)
  offerAll(3, { task: 'one' })
  offerAll(2, { task: 'two' })
  offerAll(1, { task: 'one' })
  await host.batches(2)
  assert.deepEqual(sizes(host), [3, 2])
  assert.notEqual(host.begun[0]!.digest, host.begun[1]!.digest)
})

test('a batch is no larger than the size that was measured to be fastest', async () => {
  const host = new FakeHost({
    times: () => new BatchTimes([10, 12, 16, 31.8, 64].map((ms, i) => ({ batch: 2 ** i, ms }))),
  })
  const { offerAll } = dispatch(host)
  offerAll(30)
  await host.batches(1)
  assert.deepEqual(sizes(host), [4])
})

test('a delay lets a batch grow, and a full one goes at once', async () => {
  const host = new FakeHost()
  const { offer, offerAll } = dispatch(host, { maxDelayMs: 60_000, maxBatch: 4 })
  offer()
  await new Promise(setImmediate)
  assert.deepEqual(sizes(host), [])
  offerAll(3)
  await host.batches(1)
  assert.deepEqual(sizes(host), [4])
})

test('a delay ends when it is over', async () => {
  const host = new FakeHost()
  const { offer } = dispatch(host, { maxDelayMs: 5 })
  offer()
  await host.batches(1)
  assert.deepEqual(sizes(host), [1])
})

test('machines in alarm go first, then whoever waits least long', async () => {
  const host = new FakeHost()
  const { offer, verdictOf, outcomeOf } = dispatch(host, { maxBatch: 1 })
  offer()
  await host.batches(1)
  const patient = offer({ patienceMs: 50_000 })
  const hurried = offer({ patienceMs: 10_000 })
  const alarmed = offer({ patienceMs: 90_000, alarm: true })
  const order = [alarmed, hurried, patient]
  for (const [i, next] of order.entries()) {
    host.begun[i]!.answer()
    await host.batches(i + 2)
    host.begun[i + 1]!.answer()
    await verdictOf(next)
    for (const later of order.slice(i + 1)) assert.equal(outcomeOf(later), undefined)
  }
})

test('a full queue turns newcomers away, but for a machine in alarm the last of the others', async () => {
  const host = new FakeHost()
  const { offer, offerAll, outcomeOf } = dispatch(host, { maxQueue: 2 })
  offer()
  await host.batches(1)
  const [first, last] = offerAll(2)
  const late = offer()
  const alarmed = offer({ alarm: true })
  assert.deepEqual([first!, last!, late, alarmed].map(outcomeOf), [undefined, 'overloaded', 'overloaded', undefined])
  const others = [offer({ alarm: true }), offer({ alarm: true })]
  assert.deepEqual([first!, ...others].map(outcomeOf), ['overloaded', undefined, 'overloaded'])
})

test('a queue is full by its bytes, too', async () => {
  const host = new FakeHost()
  const { offer, outcomeOf } = dispatch(host, { maxQueueBytes: 10_000 })
  offer()
  await host.batches(1)
  const items = [offer({ bytes: 6_000 }), offer({ bytes: 6_000 }), offer({ bytes: 4_000 })]
  assert.deepEqual(items.map(outcomeOf), [undefined, 'overloaded', undefined])
  const alarmed = offer({ bytes: 9_000, alarm: true })
  assert.deepEqual([...items, alarmed].map(outcomeOf), ['overloaded', 'overloaded', 'overloaded', undefined])
})

test('what cannot be answered in time is turned away at once, with the time that is missing', async t => {
  t.mock.method(performance, 'now', () => 0)
  const host = new FakeHost({ times: taking(1_000) })
  const { offer, offerAll, verdictOf, outcomeOf } = dispatch(host, { maxBatch: 1 })
  offer()
  await host.batches(1)
  const [good] = offerAll(2)
  const hopeless = offer({ patienceMs: 1_500 })
  const verdict = await verdictOf(hopeless)
  assert.ok(isRejected(verdict) && verdict.rejected === 'overloaded')
  // Half of what is under way and waits, three windows of 1.2 s, which is more than it would be late.
  assert.equal(verdict.retryAfterMs, 1_800)
  assert.equal(outcomeOf(good!), undefined)
})

test('one that a free worker can take is tried, whatever was measured before', async () => {
  const host = new FakeHost({ times: taking(100_000) })
  const { offer, outcomeOf } = dispatch(host)
  const item = offer({ patienceMs: 1_000 })
  await host.batches(1)
  assert.equal(outcomeOf(item), undefined)
})

test('what has expired is dropped before it is inferred', async t => {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const host = new FakeHost()
  const { offer, verdictOf } = dispatch(host)
  offer()
  await host.batches(1)
  const item = offer({ patienceMs: 50 })
  now = 60
  host.begun[0]!.answer()
  const verdict = await verdictOf(item)
  assert.ok(isRejected(verdict) && verdict.rejected === 'expired')
  assert.deepEqual(sizes(host), [1])
})

test('a batch that ends its worker is tried again window by window, and only the one that ends it again is rejected', async () => {
  const host = new FakeHost()
  const { offerAll, verdictOf, outcomeOf } = dispatch(host)
  const items = offerAll(4)
  const [batch] = await host.batches(1)
  batch!.fail(new Error('the worker ended'))
  for (let i = 0; i < 4; i++) {
    const alone = (await host.batches(i + 2))[i + 1]!
    assert.equal(alone.jobs.length, 1)
    if (i === 2) alone.fail(new Error('the worker ended'))
    else alone.answer()
  }
  await Promise.all(items.map(verdictOf))
  assert.deepEqual(items.map(outcomeOf), ['answered', 'answered', 'bad-window', 'answered'])
})

test('batches are halved after one that ended its worker', async t => {
  t.mock.method(performance, 'now', () => 0)
  const host = new FakeHost()
  const { offerAll, verdictOf } = dispatch(host, { maxBatch: 8 })
  const items = offerAll(8)
  ;(await host.batches(1))[0]!.fail(new Error('the worker ended'))
  for (let i = 1; i <= 8; i++) (await host.batches(i + 1))[i]!.answer()
  await Promise.all(items.map(verdictOf))
  offerAll(8)
  assert.equal((await host.batches(10))[9]!.jobs.length, 4)
})

test('a worker that is not ready gets nothing until it is', async () => {
  const host = new FakeHost()
  host.workers[0]!.ready = false
  const { offer } = dispatch(host)
  offer()
  await new Promise(setImmediate)
  assert.deepEqual(sizes(host), [])
  host.workers[0]!.ready = true
  host.emit('change')
  await host.batches(1)
})

test('batches are halved while memory is short, and grow again', async t => {
  t.mock.timers.enable({ apis: ['Date'] })
  let now = 0
  t.mock.method(performance, 'now', () => now)
  let free = 0.01
  const host = new FakeHost()
  const { offerAll, verdictOf } = dispatch(host, { maxBatch: 8, freeMemory: () => free })
  const items = offerAll(30)
  const seen = []
  for (let i = 0; i < 5; i++) {
    const batch = (await host.batches(i + 1))[i]!
    seen.push(batch.jobs.length)
    now += 1_100
    if (i === 1) free = 0.5
    batch.answer()
    await verdictOf(items[seen.reduce((sum, size) => sum + size, 0) - 1]!)
  }
  assert.deepEqual(seen, [4, 2, 4, 8, 8])
})

test('a drain answers what it can and hands back the rest', async () => {
  const host = new FakeHost()
  const { dispatcher, offer, offerAll, outcomeOf } = dispatch(host, { maxBatch: 2 })
  const [first] = offerAll(2)
  const [batch] = await host.batches(1)
  const waiting = offer()
  await dispatcher.drain(0)
  assert.deepEqual([first!, waiting].map(outcomeOf), ['overloaded', 'overloaded'])
  batch!.answer() // Which nobody waits for any more: a second verdict would fail above.
  await new Promise(setImmediate)
  assert.equal(outcomeOf(offer()), 'overloaded')
  dispatcher.open()
  assert.equal(outcomeOf(offer()), undefined)
})

test('what waits for a model that is taken away is rejected, and what it has begun is answered', async () => {
  const host = new FakeHost()
  const { offer, verdictOf, outcomeOf } = dispatch(host)
  const begun = offer()
  const [batch] = await host.batches(1)
  const waiting = [offer(), offer()]
  host.models.delete(begun.escalation.task)
  host.emit('change')
  await verdictOf(waiting[1]!)
  assert.deepEqual(waiting.map(outcomeOf), ['no-model', 'no-model'])
  batch!.answer()
  await verdictOf(begun)
  assert.equal(outcomeOf(begun), 'answered')
})

test('an answer that cannot be given keeps no other window of its batch from its own', async () => {
  const host = new FakeHost()
  const answered = new EventEmitter()
  const { dispatcher } = dispatch(host, {
    measured: () => {
      throw new Error('not counted')
    },
    answer: ({ escalation: { id } }, verdict) => {
      answered.emit(id, verdict)
      throw new Error('not given')
    },
  })
  const items = [queued(), queued(), queued()]
  const all = items.map(({ escalation: { id } }) => once(answered, id, { signal: AbortSignal.timeout(20_000) }))
  for (const item of items) dispatcher.offer(item)
  const [batch] = await host.batches(1)
  batch!.answer()
  await Promise.all(all)
})
