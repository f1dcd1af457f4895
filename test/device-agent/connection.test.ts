import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Inference } from '@faultline/protocol'
import { defaultBounds, Spool } from '../../device-agent/spool/spool.ts'
import { openStorage } from '../../device-agent/spool/storage.ts'
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
  // Two inferences, and the window itself, for a server that may be there later.
  assert.equal(edge.agent.health?.queues.spool, 3)
})

test('when the broker returns, the agent reconnects, and all that was spooled arrives in order', async t => {
  const broker = await startAgentBroker(t)
  const wire = await broker.wire(t)
  const edge = await startDevice(t, wire)
  await edge.online()
  const before = await edge.infer(sample.normal, sample.fault)
  const offline = edge.offline()
  wire.sever()
  await broker.stop()
  await offline
  const during = await edge.infer(...Array<number>(50).fill(sample.normal), sample.doubtful)
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
  const fresh = ({ id, revises }: Inference) => !sentBefore.has(id) && revises === undefined
  const seen = await watcher.see('inference', fresh, during.length + after.length)
  assert.deepEqual(idsOf(seen), idsOf([...during, ...after]))
  // The doubtful window has waited too, and its verdict revises what the device said alone.
  const revision = await watcher.seeOne('inference', ({ revises }) => revises === during.at(-1)!.id)
  assert.equal(revision.label, 'fault')
  assert.equal(edge.agent.health?.roundTripMs?.samples, 1)
  assert.deepEqual(edge.counters, {
    windows: 54,
    accepted: 52,
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
  const edge = await startDevice(t, broker, { spool: { maximumBytes: 8_192, maximumDays: 1 } })
  await edge.infer(...Array<number>(15).fill(sample.normal))
  const { spool, dropped } = edge.agent.health!.queues
  assert.ok(spool > 5 && dropped! > 0, `${spool} wait, ${dropped} given up`)
  assert.equal(spool + dropped!, 15)
})

test('an agent whose broker is gone stops, and keeps what it could not send', { timeout: 60_000 }, async t => {
  const broker = await startAgentBroker(t)
  await broker.stop()
  const edge = await startDevice(t, broker)
  await edge.infer(sample.doubtful)
  await edge.agent.stop()
  assert.equal(edge.agent.health?.queues.spool, 2)
})

test('a message that the broker breaks every connection for is set aside, and the others arrive', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const dataDirectory = await temporaryDirectory(t)
  // What a data directory that came with another device's name still holds: no broker lets this device say it.
  const database = openStorage(dataDirectory)
  const topic = 'faultline/v1/devices/plant-a/pi-2/points/motor-de/inference'
  new Spool(database).add({ kind: 'inference', topic, payload: Buffer.from('{}') })
  database.exec(`UPDATE messages SET tries = ${defaultBounds.tries.shared - 1}`)
  database.close()
  const edge = await startDevice(t, broker, { dataDirectory })
  await edge.online()
  const inferences = await edge.infer(sample.normal, sample.fault)
  const seen = await watcher.see('inference', () => true, 2)
  assert.deepEqual(idsOf(seen), idsOf(inferences))
  await edge.agent.stop()
  assert.equal(edge.agent.health?.queues.spool, 1)
})
