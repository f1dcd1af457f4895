import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type AnsweredVerdict,
  type Escalation,
  encodePayload,
  encodeWindow,
  identityOf,
  isRejected,
  newId,
  type RejectedVerdict,
  type Verdict,
} from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { type BrokerAccess, startAgentBroker } from '../support/agent-broker.ts'
import { device, machine, point, site, startServer } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { sample, TinyServerModel, tinyTask, tinyWindow } from '../support/tiny-models.ts'

const address = { kind: 'escalation', site, device, point } as const

function escalation(first: number, changes: Partial<Escalation> = {}): Escalation {
  return {
    v: 1,
    id: newId(),
    at: new Date().toISOString(),
    machine,
    reason: 'below-threshold',
    deadline: new Date(Date.now() + 60_000).toISOString(),
    task: tinyTask,
    local: { label: 'normal', confidence: 0.6, probabilities: [0.6, 0.4], digest: 'sha256:1111111111111111' },
    window: encodeWindow(tinyWindow(first)),
    ...changes,
  }
}

/** A device that only escalates. */
async function startEscalator(t: { after(clean: () => Promise<void>): void }, { url, secret }: BrokerAccess) {
  const session = new MqttSession({
    url,
    secret,
    identity: identityOf('device', site, device),
    subscriptions: [],
    logger: silentLogger,
  })
  t.after(() => session.stop())
  await session.start()
  await session.whenOnline(AbortSignal.timeout(20_000))
  return {
    session,
    escalate: async (...escalations: Escalation[]) => {
      await Promise.all(escalations.map(payload => session.publish(address, payload)))
    },
  }
}

const rejected = (verdict: Verdict): verdict is RejectedVerdict => isRejected(verdict)
const answered = (verdict: Verdict): verdict is AnsweredVerdict => !isRejected(verdict)

test('an escalation gets a verdict with the model, the agent and the times', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  await startServer(t, broker)
  const { escalate } = await startEscalator(t, broker)
  const sent = escalation(sample.doubtful)
  await escalate(sent)
  const verdict = await watcher.seeOne('verdict')
  assert.ok(answered(verdict))
  assert.equal(verdict.id, sent.id)
  assert.equal(verdict.label, 'fault')
  assert.equal(verdict.model.name, 'tiny-server')
  assert.equal(verdict.agent, 'server-1')
  assert.ok(verdict.queueMs >= 0 && verdict.inferMs >= 0)
})

test('what waits while the model works becomes one batch', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const model = new TinyServerModel()
  await startServer(t, broker, { classifiers: new Map([[tinyTask, model]]), maxBatch: 4 })
  const { escalate } = await startEscalator(t, broker)
  const release = model.hold()
  await escalate(escalation(sample.fault))
  await model.working()
  await escalate(...Array.from({ length: 6 }, () => escalation(sample.fault)))
  release()
  await watcher.see('verdict', answered, 7)
  assert.deepEqual(model.batches, [1, 4, 2])
})

test('a full queue rejects with the time after which to try again, and answers the others', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const model = new TinyServerModel()
  await startServer(t, broker, { classifiers: new Map([[tinyTask, model]]), maxQueue: 2 })
  const { escalate } = await startEscalator(t, broker)
  const release = model.hold()
  await escalate(escalation(sample.fault))
  await model.working()
  const burst = Array.from({ length: 5 }, () => escalation(sample.fault))
  await escalate(...burst)
  const overloaded = await watcher.see('verdict', rejected, 3)
  for (const verdict of overloaded) {
    assert.ok(rejected(verdict))
    assert.equal(verdict.rejected, 'overloaded')
    assert.ok(verdict.retryAfterMs! > 0)
  }
  release()
  const good = await watcher.see('verdict', answered, 3)
  assert.ok(burst.slice(0, 2).every(({ id }) => good.some(verdict => verdict.id === id)))
})

for (const { what, wrong, reason } of [
  {
    what: 'a task without a model',
    wrong: () => escalation(sample.fault, { task: 'image-class' }),
    reason: 'no-model',
  },
  {
    what: 'a deadline that has passed',
    wrong: () => escalation(sample.fault, { deadline: new Date(Date.now() - 60_000).toISOString() }),
    reason: 'expired',
  },
  {
    what: 'a window with fewer bytes than it claims',
    wrong: () => escalation(sample.fault, { window: { ...encodeWindow(tinyWindow(1)), bytes: new Uint8Array(3) } }),
    reason: 'bad-window',
  },
  { what: 'a window that the model refuses', wrong: () => escalation(sample.unfit), reason: 'bad-window' },
  { what: 'a window that breaks its batch', wrong: () => escalation(sample.poison), reason: 'bad-window' },
]) {
  test(`${what} is rejected as ${reason}, alone of its batch`, async t => {
    const broker = await startAgentBroker(t)
    const watcher = await observe(t, broker)
    const model = new TinyServerModel()
    await startServer(t, broker, { classifiers: new Map([[tinyTask, model]]) })
    const { escalate } = await startEscalator(t, broker)
    const release = model.hold()
    await escalate(escalation(sample.fault))
    await model.working()
    const bad = wrong()
    await escalate(escalation(sample.fault), bad, escalation(sample.normal))
    release()
    const verdicts = await watcher.see('verdict', () => true, 4)
    const refused = verdicts.filter(rejected)
    assert.deepEqual(
      refused.map(({ id, rejected }) => [id, rejected]),
      [[bad.id, reason]],
    )
  })
}

test('a device whose clock is an hour slow is answered', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  await startServer(t, broker)
  const { escalate } = await startEscalator(t, broker)
  const at = Date.now() - 3_600_000
  const times = { at: new Date(at).toISOString(), deadline: new Date(at + 5_000).toISOString() }
  await escalate(escalation(sample.fault, times))
  assert.ok(answered(await watcher.seeOne('verdict')))
})

test('an escalation that cannot be read is counted, and the next one is answered', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const server = await startServer(t, broker)
  const { session, escalate } = await startEscalator(t, broker)
  const whole = encodePayload('escalation', escalation(sample.fault))
  for (const bytes of [Buffer.from('{}'), whole.subarray(0, 40), Buffer.from([0xff])]) {
    await session.publishRaw(address, bytes)
  }
  await escalate(escalation(sample.fault))
  await watcher.see('verdict')
  assert.deepEqual(server.counts, { answered: 1, rejected: 0, refused: 3 })
})

test('two server agents share the work, each escalation going to one of them', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const first = await startServer(t, broker, { server: 'server-1' })
  const second = await startServer(t, broker, { server: 'server-2' })
  const { escalate } = await startEscalator(t, broker)
  await escalate(...Array.from({ length: 20 }, () => escalation(sample.fault)))
  const verdicts = await watcher.see('verdict', answered, 20)
  assert.equal(new Set(verdicts.map(({ id }) => id)).size, 20)
  assert.equal(first.counts.answered + second.counts.answered, 20)
  assert.ok(first.counts.answered > 0 && second.counts.answered > 0)
})

test('a stop finishes what it has taken, then says goodbye', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const model = new TinyServerModel()
  const server = await startServer(t, broker, { classifiers: new Map([[tinyTask, model]]), maxBatch: 2 })
  const { escalate } = await startEscalator(t, broker)
  const release = model.hold()
  await escalate(escalation(sample.fault))
  await model.working()
  await escalate(...Array.from({ length: 5 }, () => escalation(sample.fault)))
  const stopped = server.stop()
  release()
  await stopped
  await watcher.see('verdict', answered, 6)
  await watcher.seeOne('server-state', ({ online }) => !online)
  const kinds = watcher.messages.map(({ kind }) => kind)
  assert.ok(kinds.lastIndexOf('server-state') > kinds.lastIndexOf('verdict'))
})

test('state names the models and the capacity, and follows the load', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  await startServer(t, broker, { maxBatch: 8, maxQueue: 9, stateIntervalMs: 20 })
  const first = await watcher.seeOne('server-state')
  assert.ok(first.online)
  assert.deepEqual(first.capacity, { maxBatch: 8, maxQueue: 9 })
  assert.equal(first.models[0]?.role, 'server')
  const { escalate } = await startEscalator(t, broker)
  await escalate(escalation(sample.fault))
  const busy = await watcher.seeOne('server-state', state => state.online && state.load.answered === 1)
  assert.ok(busy.online && busy.load.windowsPerSecond > 0)
})

test('when the wire is cut the will says so, and the agent comes back to work', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const wire = await broker.wire(t)
  await startServer(t, wire)
  const { escalate } = await startEscalator(t, broker)
  wire.cut()
  await watcher.seeOne('server-state', ({ online }) => !online)
  const count = watcher.of('server-state').length
  await watcher.see('server-state', () => true, count + 1)
  await escalate(escalation(sample.fault))
  assert.ok(answered(await watcher.seeOne('verdict')))
})
