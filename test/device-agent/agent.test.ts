import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { agentDatabase } from '@faultline/device-agent'
import { examples, type Inference, isRejected } from '@faultline/protocol'
import { openDatabase } from '@faultline/runtime'
import { fileOf } from '../../device-agent/spool/storage.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { device, machine, point, site, startDevice, startServer, startVoice } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { sample } from '../support/tiny-models.ts'

const bare = ({ label, decidedBy, outcome, reason }: Inference) => ({ label, decidedBy, outcome, reason })

test('a confident answer is accepted and published at once', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const edge = await startDevice(t, broker)
  await edge.online()
  await edge.infer(sample.normal)
  const inference = await watcher.seeOne('inference')
  assert.deepEqual(bare(inference), { label: 'normal', decidedBy: 'local', outcome: 'accepted', reason: 'confident' })
  assert.equal(inference.machine, machine)
  assert.ok(inference.features.rms! > 0)
  assert.equal(edge.counters.accepted, 1)
  assert.ok(edge.agent.bytesAvoided > 128)
})

test('a doubtful answer is escalated, and the verdict becomes the inference', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  await startServer(t, broker)
  const edge = await startDevice(t, broker)
  await edge.online()
  await edge.infer(sample.doubtful)
  const inference = await watcher.seeOne('inference')
  assert.deepEqual(bare(inference), {
    label: 'fault',
    decidedBy: 'server',
    outcome: 'answered',
    reason: 'below-threshold',
  })
  assert.equal(inference.local.label, 'normal')
  assert.equal(inference.server?.agent, 'server-1')
  const { counters, roundTripMs, bytes } = edge.agent.health!
  assert.equal(counters.answered, 1)
  assert.equal(roundTripMs?.samples, 1)
  assert.ok(bytes.escalations > 0 && bytes.escalations < bytes.sent)
  assert.equal((await watcher.seeOne('escalation')).id, inference.id)
})

test('no answer before the deadline: the local answer stands, marked so, and a late verdict revises it once', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const voice = await startVoice(t, broker)
  const edge = await startDevice(t, broker, { deadlineMs: 60 })
  await edge.online()
  const [late] = await edge.infer(sample.doubtful)
  assert.deepEqual(bare(late!), {
    label: 'normal',
    decidedBy: 'local-fallback',
    outcome: 'late',
    reason: 'below-threshold',
  })
  // Said by hand: a server agent would not begin with a window that has expired.
  const verdict = { ...examples.verdict.payload, id: (await watcher.seeOne('escalation')).id, label: 'fault' }
  await voice.publish({ kind: 'verdict', site, device, point }, verdict)
  const [, revision] = await edge.inferred(2)
  assert.equal(revision?.revises, late!.id)
  assert.notEqual(revision?.id, late!.id)
  assert.equal(revision?.label, 'fault')
  // The same verdict once more, as QoS 1 may deliver it; then a marker that comes after it.
  await voice.publish({ kind: 'verdict', site, device, point }, verdict)
  await edge.infer(sample.normal)
  await watcher.see('inference', () => true, 3)
  assert.equal(edge.inferences.length, 3)
  assert.equal(edge.agent.health!.revisions, 1)
  assert.deepEqual(edge.counters, { ...edge.counters, windows: 2, accepted: 1, late: 1, pending: 0 })
})

test('a rejection lets the local answer stand at once', async t => {
  const broker = await startAgentBroker(t)
  await startServer(t, broker, { classifiers: new Map() })
  const edge = await startDevice(t, broker)
  await edge.online()
  const [inference] = await edge.infer(sample.doubtful)
  assert.equal(inference?.outcome, 'rejected')
  assert.equal(inference?.decidedBy, 'local-fallback')
})

test('windows that no server answers go on with local answers, and verdicts resume when it returns', async t => {
  const broker = await startAgentBroker(t)
  const operator = await observe(t, broker)
  const first = await startServer(t, broker)
  const edge = await startDevice(t, broker, { deadlineMs: 20_000 })
  await edge.online()
  assert.equal((await edge.infer(sample.doubtful))[0]?.decidedBy, 'server')
  await first.stop()
  await edge.configure(operator, { deadlineMs: 50 })
  const [unanswered] = await edge.infer(sample.doubtful)
  assert.equal(unanswered?.decidedBy, 'local-fallback')
  assert.equal((await edge.infer(sample.normal))[0]?.decidedBy, 'local')
  await edge.configure(operator, { deadlineMs: 20_000 })
  await startServer(t, broker)
  // The broker has kept the window that was not answered.
  assert.equal((await edge.inferred(4))[3]?.revises, unanswered!.id)
  assert.equal((await edge.infer(sample.doubtful))[0]?.decidedBy, 'server')
  assert.deepEqual(edge.counters, {
    windows: 4,
    accepted: 1,
    answered: 2,
    late: 1,
    rejected: 0,
    offline: 0,
    withheld: 0,
    pending: 0,
  })
})

test('a model without a valid answer never says normal', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const edge = await startDevice(t, broker, { deadlineMs: 60, policy: { name: 'never', parameters: {} } })
  await edge.online()
  const [nan, broken] = await edge.infer(sample.nan, sample.broken)
  for (const inference of [nan, broken]) {
    assert.equal(inference?.reason, 'invalid-output')
    assert.equal(inference?.label, 'unknown')
    assert.equal(inference?.confidence, null)
  }
  await edge.configure(watcher, { deadlineMs: 20_000 })
  await startServer(t, broker)
  const [answered] = await edge.infer(sample.nan)
  assert.equal(answered?.label, 'fault')
  assert.equal(answered?.local.confidence, null)
  await watcher.see('inference', () => true, 3)
})

test('a sensor that is at fault is told of at once, and its windows are not judged', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const edge = await startDevice(t, broker)
  await edge.online()
  await edge.infer(sample.normal)
  edge.source.give(Number.NaN, Number.NaN)
  const faulty = await watcher.seeOne('health', ({ points }) => points !== undefined)
  assert.deepEqual(faulty.points, [{ point, fault: 'not-finite', since: faulty.points![0]!.since, windows: 1 }])
  await edge.infer(sample.normal)
  assert.equal(edge.agent.health!.points, undefined)
  assert.equal(edge.counters.windows, 2)
  assert.equal(edge.inferences.length, 2)
})

test('audits are escalations with their own reason and counter', async t => {
  const broker = await startAgentBroker(t)
  await startServer(t, broker)
  const edge = await startDevice(t, broker, { auditRate: 1 })
  await edge.online()
  const [inference] = await edge.infer(sample.normal)
  assert.deepEqual(bare(inference!), { label: 'normal', decidedBy: 'server', outcome: 'answered', reason: 'audit' })
  assert.equal(edge.agent.health!.audits, 1)
})

test('a hostile verdict changes nothing but the error counter', async t => {
  const broker = await startAgentBroker(t)
  const edge = await startDevice(t, broker)
  await edge.online()
  const voice = await startVoice(t, broker)
  const address = { kind: 'verdict', site, device, point } as const
  for (const text of ['', '{', 'null', '{"id":"a","label":"x","confidence":1e999}', `{"id":${'['.repeat(5_000)}`]) {
    await voice.publishRaw(address, Buffer.from(text))
  }
  const watcher = await observe(t, broker)
  await watcher.session.publish({ kind: 'command', site, device }, { id: 'after', name: 'ping', args: {} })
  await watcher.seeOne('command-result')
  assert.equal(edge.agent.health!.errors, 4)
  assert.equal(edge.inferences.length, 0)
})

test('a listener that throws does not disturb the agent', async t => {
  const broker = await startAgentBroker(t)
  const edge = await startDevice(t, broker)
  edge.agent.on('inference', () => {
    throw new Error('mine')
  })
  await edge.infer(sample.normal, sample.normal)
  assert.equal(edge.counters.accepted, 2)
})

test('state says what runs, and the will says when it has gone', async t => {
  const broker = await startAgentBroker(t)
  const wire = await broker.wire(t)
  const edge = await startDevice(t, wire)
  await edge.online()
  const watcher = await observe(t, broker)
  const state = await watcher.seeOne('state')
  assert.ok(state.online)
  assert.equal(state.boot, 1)
  assert.equal(state.models[0]?.name, 'tiny-local')
  assert.equal(state.policy.name, 'threshold')
  assert.deepEqual(
    state.points.map(({ machine }) => machine),
    [machine],
  )
  wire.cut()
  assert.equal((await watcher.seeOne('state', ({ online }) => !online)).boot, 1)
})

test('the boot counter grows with every start', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const dataDirectory = await temporaryDirectory(t)
  const edge = await startDevice(t, broker, { dataDirectory })
  await edge.online()
  await edge.agent.stop()
  await startDevice(t, broker, { dataDirectory })
  const state = await watcher.seeOne('state', ({ online, boot }) => online && boot > 1)
  assert.equal(state.boot, 2)
})

test('health is published every interval and sums', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const edge = await startDevice(t, broker, { healthIntervalS: 0.05 })
  await edge.online()
  await edge.infer(sample.normal, sample.fault)
  const health = await watcher.seeOne('health', ({ counters }) => counters.windows === 2)
  assert.equal(health.counters.accepted, 2)
  assert.ok(health.memoryBytes > 0)
})

test('a health that cannot be made is an error, and the next one tells of it', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const edge = await startDevice(t, broker, { healthIntervalS: 0.05 })
  const failures = [
    () => {
      throw new Error('the sensor has gone')
    },
    () => 0.5, // No count: it does not fit the contract.
  ]
  Object.defineProperty(edge.source, 'overruns', { get: () => (edge.agent.online && failures.shift()?.()) || 0 })
  const health = await watcher.seeOne('health', ({ errors }) => errors > 0)
  assert.equal(health.errors, 2)
})

test('health counts from the start of the agent, also from its second', async t => {
  const broker = await startAgentBroker(t)
  await broker.stop()
  const edge = await startDevice(t, broker)
  edge.source.fail()
  await edge.infer(sample.normal)
  Object.defineProperty(edge.source, 'overruns', { value: 5 })
  await edge.agent.stop()
  const counted = () => {
    const { errors, overruns, counters } = edge.agent.health!
    return { errors, overruns, windows: counters.windows }
  }
  assert.deepEqual(counted(), { errors: 1, overruns: 5, windows: 1 })
  await edge.agent.start()
  assert.deepEqual(counted(), { errors: 0, overruns: 0, windows: 0 })
})

test('by exception, a healthy machine is silent but for its summary', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const edge = await startDevice(t, broker, { reporting: 'exception' })
  await edge.online()
  await edge.infer(...Array<number>(5).fill(sample.normal), sample.fault, sample.fault, sample.normal)
  await edge.agent.stop()
  const summary = await watcher.seeOne('summary')
  assert.deepEqual(
    watcher.of('inference').map(({ payload }) => payload.label),
    ['normal', 'fault', 'normal'],
  )
  assert.equal(summary.windows, 5)
  assert.deepEqual(summary.labels, { normal: 4, fault: 1 })
  assert.equal(edge.inferences.length, 8)
})

test('a stop ends every window and says goodbye', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const edge = await startDevice(t, broker, { deadlineMs: 100 })
  await edge.online()
  edge.source.give(sample.doubtful)
  await watcher.seeOne('escalation')
  await edge.agent.stop()
  assert.equal(edge.counters.pending, 0)
  assert.equal(edge.counters.windows, 1)
  await watcher.seeOne('state', ({ online }) => !online)
  assert.equal(watcher.of('inference').length, 1)
})

test('a command is carried out once, and its repetition gets the same result', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const edge = await startDevice(t, broker)
  await edge.online()
  const to = { kind: 'command', site, device } as const
  await watcher.session.publish(to, { id: 'one', name: 'ping', args: {} })
  await watcher.session.publish(to, { id: 'one', name: 'ping', args: {} })
  const [first, second] = await watcher.see('command-result', () => true, 2)
  assert.deepEqual(second, first)
  assert.equal(first?.ok, true)
  await watcher.session.publish(to, { id: 'two', name: 'constructor', args: {} })
  const unknown = await watcher.seeOne('command-result', ({ id }) => id === 'two')
  assert.equal(unknown.error?.code, 'COMMAND_UNKNOWN')
})

test('a command whose record is damaged has a result that says so, as its message is acknowledged', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const dataDirectory = await temporaryDirectory(t)
  const edge = await startDevice(t, broker, { dataDirectory })
  await edge.online()
  const database = openDatabase(fileOf(dataDirectory), agentDatabase.migrations)
  database.exec("INSERT INTO command_results (id, result) VALUES ('one', '{')")
  database.close()
  await watcher.session.publish({ kind: 'command', site, device }, { id: 'one', name: 'ping', args: {} })
  const { ok, error } = await watcher.seeOne('command-result', ({ id }) => id === 'one')
  assert.deepEqual([ok, error?.code], [false, 'DATABASE_FAILED'])
})

test('two server agents that both answer settle a window once', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const edge = await startDevice(t, broker)
  await edge.online()
  edge.source.give(sample.doubtful)
  const { id } = await watcher.seeOne('escalation')
  const to = { kind: 'verdict', site, device, point } as const
  const voice = await startVoice(t, broker)
  const say = (agent: string) =>
    voice.publish(to, {
      id,
      label: 'fault',
      confidence: 0.9,
      probabilities: [0.1, 0.9],
      model: { name: 'big', version: '1.0.0', digest: `sha256:${'3'.repeat(64)}` },
      agent,
      queueMs: 0,
      inferMs: 0,
    })
  await say('server-1')
  await say('server-2')
  await watcher.see('verdict', payload => !isRejected(payload), 2)
  await edge.infer(sample.normal)
  assert.equal(edge.inferences.length, 2)
  assert.equal(edge.counters.answered, 1)
})

test('a start that fails leaves nothing open', async t => {
  const broker = await startAgentBroker(t)
  await assert.rejects(startDevice(t, broker, { policy: { name: 'oracle', parameters: {} } }), {
    code: 'POLICY_UNKNOWN',
  })
  const edge = await startDevice(t, broker)
  if (!edge.agent.online) await once(edge.agent, 'online')
})
