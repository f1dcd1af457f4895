import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Inference } from '@faultline/protocol'
import { startAgentBroker } from '../support/agent-broker.ts'
import { startDevice, startServer } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { sample, TinyServerModel, tinyTask } from '../support/tiny-models.ts'

const idsOf = (inferences: readonly Inference[]): string[] => inferences.map(({ id }) => id)

test('without a connection every window is answered locally, and a doubtful one says so', async t => {
  const broker = await startAgentBroker(t)
  await broker.stop()
  const edge = await startDevice(t, broker)
  const [sure, doubtful] = await edge.infer(sample.normal, sample.doubtful)
  assert.equal(sure?.outcome, 'accepted')
  assert.equal(doubtful?.outcome, 'offline')
  assert.equal(doubtful?.decidedBy, 'local-fallback')
  assert.equal(edge.agent.health?.queues.spool, 2)
})

test('when the broker returns, the agent reconnects, and every spooled inference arrives in order', async t => {
  const broker = await startAgentBroker(t)
  const wire = await broker.wire(t)
  const edge = await startDevice(t, wire)
  await edge.online()
  const before = await edge.infer(sample.normal, sample.fault)
  const offline = edge.offline()
  wire.sever()
  await broker.stop()
  await offline
  const during = await edge.infer(...Array<number>(100).fill(sample.normal), sample.doubtful)
  await broker.start()
  // Whoever wants to see everything has to be there before the device is.
  const watcher = await observe(t, broker)
  await startServer(t, broker)
  wire.mend()
  await edge.online()
  const after = await edge.infer(sample.doubtful)
  assert.equal(after[0]?.decidedBy, 'server')

  // QoS 1: what was sent just before the break may come a second time.
  const sentBefore = new Set(idsOf(before))
  const seen = await watcher.see('inference', ({ id }) => !sentBefore.has(id), during.length + after.length)
  assert.deepEqual(idsOf(seen), idsOf([...during, ...after]))
  assert.deepEqual(edge.counters, {
    windows: 104,
    accepted: 102,
    answered: 1,
    late: 0,
    rejected: 0,
    offline: 1,
    withheld: 0,
    pending: 0,
  })
})

test('a verdict that is given while the device is away still answers its window in time', async t => {
  const broker = await startAgentBroker(t)
  const wire = await broker.wire(t)
  const watcher = await observe(t, broker)
  const model = new TinyServerModel()
  const release = model.hold()
  await startServer(t, broker, { classifiers: new Map([[tinyTask, model]]) })
  const edge = await startDevice(t, wire)
  await edge.online()
  edge.source.give(sample.doubtful)
  await model.working()
  const offline = edge.offline()
  wire.sever()
  await offline
  release()
  await watcher.seeOne('verdict')
  assert.equal(edge.counters.pending, 1)
  wire.mend()
  const [inference] = await edge.inferred(1)
  assert.equal(inference?.decidedBy, 'server')
  assert.equal(edge.counters.answered, 1)
})

test('a restart while offline keeps the spool', async t => {
  const broker = await startAgentBroker(t)
  await broker.stop()
  const dataDirectory = await temporaryDirectory(t)
  const first = await startDevice(t, broker, { dataDirectory })
  const inferences = await first.infer(sample.normal, sample.fault, sample.doubtful)
  await first.agent.stop()
  await broker.start()
  const watcher = await observe(t, broker)
  const second = await startDevice(t, broker, { dataDirectory })
  await second.online()
  const seen = await watcher.see('inference', () => true, 3)
  assert.deepEqual(idsOf(seen), idsOf(inferences))
  await second.agent.stop()
  assert.equal(second.agent.health?.queues.spool, 0)
})

test('a spool that is full says how many messages it gave up', async t => {
  const broker = await startAgentBroker(t)
  await broker.stop()
  const edge = await startDevice(t, broker, { spoolLimit: 10 })
  await edge.infer(...Array<number>(15).fill(sample.normal))
  assert.deepEqual(edge.agent.health?.queues, { spool: 10, pending: 0, dropped: 5 })
  assert.equal(edge.counters.windows, 15)
})

test('an agent whose broker never answers stops promptly', async t => {
  const broker = await startAgentBroker(t)
  await broker.stop()
  const edge = await startDevice(t, broker)
  await edge.infer(sample.doubtful)
  const started = performance.now()
  await edge.agent.stop()
  assert.ok(performance.now() - started < 1_500)
})
