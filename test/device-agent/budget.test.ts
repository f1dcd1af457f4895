import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Budget } from '@faultline/protocol'
import { startAgentBroker } from '../support/agent-broker.ts'
import { countingBroker } from '../support/counting-broker.ts'
import { device, site, startDevice, startServer } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { sample } from '../support/tiny-models.ts'

const everything = { policy: { name: 'always', parameters: {} }, deadlineMs: 20 }
const budget: Budget = { bytesPerDay: 30_000, escalationBytesPerDay: 4_000, explorationBytesPerDay: 1_000 }
const many = (count: number, first: number): number[] => new Array<number>(count).fill(first)

test('when the budget is used up the local answer stands at once and says so', async t => {
  const broker = await countingBroker(t)
  const edge = await startDevice(t, broker, { ...everything, budget })
  await edge.online()
  await edge.infer(...many(30, sample.doubtful))
  const { counters, budget: spent } = edge.agent.health!
  assert.ok(counters.late > 3 && counters.withheld > 3, JSON.stringify(counters))
  assert.equal(counters.late + counters.withheld, 30)
  await broker.took('escalation', spent!.escalations.used)
  assert.ok(broker.bytes('escalation') <= budget.escalationBytesPerDay)
  assert.equal(spent?.escalations.used, broker.bytes('escalation'))
  const { inference } = edge.inferences.find(({ inference }) => inference.outcome === 'withheld')!
  assert.deepEqual(
    [inference.outcome, inference.decidedBy, inference.reason],
    ['withheld', 'local-fallback', 'over-budget'],
  )
  const { bytesNeeded, bytesLeft, price } = inference.numbers!
  assert.ok(bytesNeeded! > bytesLeft! && bytesLeft! >= 0 && price === 0.2)
})

test('a restart does not grant a second budget', async t => {
  const broker = await countingBroker(t)
  const dataDirectory = await temporaryDirectory(t)
  for (let i = 0; i < 3; i++) {
    const edge = await startDevice(t, broker, { ...everything, budget, dataDirectory })
    await edge.online()
    await edge.infer(...many(20, sample.doubtful))
    await edge.agent.stop()
  }
  assert.ok(broker.bytes('escalation') > budget.escalationBytesPerDay / 2)
  assert.ok(broker.bytes('escalation') <= budget.escalationBytesPerDay)
  assert.ok(broker.bytes() <= budget.bytesPerDay)
})

test('a connection that breaks sends nothing twice for one payment', async t => {
  const broker = await countingBroker(t)
  broker.acknowledges = false
  const edge = await startDevice(t, broker, { ...everything, budget: { ...budget, bytesPerDay: 9_000 } })
  for (let i = 0; i < 8; i++) {
    await edge.online()
    await edge.infer(sample.doubtful)
    const offline = edge.offline()
    broker.cut()
    await offline
  }
  await edge.online()
  const { total, escalations } = edge.agent.health!.budget!
  assert.ok(broker.bytes('escalation') <= escalations.used && escalations.used <= budget.escalationBytesPerDay)
  // What was cut off may be paid for without having arrived, never the other way round.
  assert.ok(broker.bytes() <= total.used && total.used <= 9_000, `${broker.bytes()} of ${total.used}`)
  assert.ok(total.left < 3_000, 'the budget was hardly put to the test')
})

test('exploration stops first, and then what it would have sent is accepted', async t => {
  const broker = await startAgentBroker(t)
  await startServer(t, broker)
  const edge = await startDevice(t, broker, { auditRate: 1, budget })
  await edge.online()
  const normals = await edge.infer(...many(10, sample.normal))
  const audited = normals.filter(({ reason }) => reason === 'audit')
  assert.ok(audited.length > 0 && audited.length < 10)
  const last = normals.find(({ reason }) => reason !== 'audit')!
  assert.deepEqual([last.outcome, last.decidedBy, last.reason], ['accepted', 'local', 'exploration-over-budget'])
  assert.equal(last.numbers!.auditRate, 1)
  // The doubtful ones still have their own part.
  assert.equal((await edge.infer(sample.doubtful))[0]!.outcome, 'answered')
  assert.equal(edge.counters.withheld, 0)
  const { exploration, escalations } = edge.agent.health!.budget!
  assert.ok(exploration.used <= 1_000 && escalations.used > exploration.used)
})

test('reports that do not fit wait on the device until there is room', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const tight = { bytesPerDay: 4_000, escalationBytesPerDay: 1, explorationBytesPerDay: 0 }
  const edge = await startDevice(t, broker, { budget: tight, healthIntervalS: 0.05 })
  await edge.online()
  await edge.infer(...many(20, sample.normal))
  const { queues, budget: spent } = edge.agent.health!
  assert.ok(queues.spool > 5, `${queues.spool} wait`)
  assert.ok(spent!.total.used <= 4_000)
  const { session } = watcher
  const wide = { ...tight, bytesPerDay: 1_000_000 }
  await session.publish({ kind: 'config-desired', site, device }, { revision: 1, config: { budget: wide } })
  await watcher.see('inference', () => true, 20)
  assert.equal(edge.counters.accepted, 20)
})
