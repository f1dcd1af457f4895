import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { LocalModel, RuntimeSettings } from '@faultline/device-agent'
import { classificationOf, type Feedback, type Policy } from '@faultline/inference'
import {
  decodePayload,
  FaultlineError,
  type Inference,
  type TopicAddress,
  topicOf,
  type Verdict,
} from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { CommissioningKeeper } from '../../device-agent/decisions/commissioning-keeper.ts'
import { WindowFlow } from '../../device-agent/decisions/window-flow.ts'
import { openStorage, Settings } from '../../device-agent/spool/storage.ts'
import { ManualSource } from '../support/manual-source.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { sample, tinyLocalModel, tinyWindow } from '../support/tiny-models.ts'

const point = { point: 'motor-de', machine: 'press-3', source: new ManualSource() }
const settings: RuntimeSettings = {
  policy: { name: 'listening', parameters: {} },
  price: 0.25,
  prices: null,
  budget: null,
  auditRate: 0,
  episodes: 'off',
  deadlineMs: 100,
  reporting: 'every',
  summaryIntervalS: 60,
  healthIntervalS: 60,
  pace: {},
  sources: {},
}

/** Escalates everything and remembers what it was taught. */
class ListeningPolicy implements Policy {
  readonly name = 'listening'
  readonly lessons: Feedback[] = []
  private rounds = 0
  decide() {
    const token = { round: ++this.rounds }
    return { action: 'escalate', reason: 'curious', numbers: { score: Number.NaN, price: 0.25 }, token } as const
  }
  learn(feedback: Feedback): void {
    this.lessons.push(feedback)
  }
  snapshot() {
    return { policy: this.name, version: 1, data: null }
  }
  restore(): void {}
}

function startFlow(
  t: TestContext,
  publishRaw: (address: TopicAddress, payload: Buffer) => Promise<void> = async () => {},
  model: LocalModel = tinyLocalModel,
  commissioning?: CommissioningKeeper,
) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const policy = new ListeningPolicy()
  const inferences: Inference[] = []
  const sent: { address: TopicAddress; payload: Buffer }[] = []
  const failures: unknown[] = []
  const flow = new WindowFlow(
    {
      site: 'plant-a',
      device: 'pi-1',
      model,
      points: [point],
      publisher: { online: true, publishRaw },
      audits: { decided: () => {}, answered: () => {} },
      budget: { spend: () => true, leftFor: () => 0 },
      quote: () => ({ price: settings.price, numbers: {} }),
      answered: () => {},
      ...(commissioning && { commissioning }),
      send: (address, payload) => sent.push({ address, payload }),
      announce: inference => inferences.push(inference),
      failed: error => failures.push(error),
    },
    { settings, policies: { of: () => policy } },
  )
  const handle = (first: number) => flow.handle(point, { window: tinyWindow(first), at: new Date() })
  return { flow, policy, inferences, sent, failures, handle }
}

const verdict = (id: string): Verdict => ({
  id,
  label: 'fault',
  confidence: 0.98765432,
  probabilities: [0.01234568, 0.98765432],
  model: tinyLocalModel.model,
  agent: 'server-1',
  queueMs: 0,
  inferMs: 0,
})

/** The id of the one window that is pending, read from what the flow will say of it when its time is up. */
async function escalateOne(t: TestContext, first: number) {
  const parts = startFlow(t)
  await parts.handle(first)
  t.mock.timers.tick(settings.deadlineMs)
  return { ...parts, id: parts.inferences[0]!.id }
}

test('a policy learns from a late verdict once, with the price of the decision', async t => {
  const { flow, policy, id } = await escalateOne(t, sample.doubtful)
  assert.equal(policy.lessons.length, 0)
  flow.receive(point.point, verdict(id))
  flow.receive(point.point, verdict(id))
  assert.equal(policy.lessons.length, 1)
  assert.equal(policy.lessons[0]?.price, 0.25)
  assert.equal(policy.lessons[0]?.remote.label, 'fault')
  assert.equal(policy.lessons[0]?.local.label, 'normal')
  assert.equal(flow.revisions, 1)
})

test('an inference says what the local model gave every class, and the bytes of its window as an escalation', async t => {
  const payloads: Buffer[] = []
  const topics: TopicAddress[] = []
  const { inferences, handle } = startFlow(t, async (address, payload) => {
    topics.push(address)
    payloads.push(payload)
  })
  await handle(sample.doubtful)
  await handle(sample.nan)
  t.mock.timers.tick(settings.deadlineMs)
  const [doubtful, broken] = inferences
  const { label, confidence, probabilities } = doubtful!.local
  assert.deepEqual(Object.keys(probabilities!), tinyLocalModel.classes)
  assert.equal(probabilities![label], confidence)
  assert.equal(broken!.local.probabilities, undefined)
  for (const [i, inference] of inferences.entries())
    assert.equal(inference.escalationBytes, Buffer.byteLength(topicOf(topics[i]!)) + payloads[i]!.byteLength)
})

test('of a model with very many classes only the answer is published', async t => {
  const classes = Array.from({ length: 17 }, (_, i) => `class-${i}`)
  const probabilities = classes.map((_, i) => Number(i === 3))
  const model: LocalModel = {
    ...tinyLocalModel,
    classes,
    classify: async () => [{ classification: classificationOf(classes, probabilities), features: undefined }],
  }
  const { inferences, handle } = startFlow(t, undefined, model)
  await handle(sample.doubtful)
  t.mock.timers.tick(settings.deadlineMs)
  assert.equal(inferences[0]!.local.label, 'class-3')
  assert.equal(inferences[0]!.local.probabilities, undefined)
})

test('every verdict brings its policy the token of its own decision, in whatever order they come', async t => {
  const { flow, policy, inferences, handle } = startFlow(t)
  for (let i = 0; i < 3; i++) await handle(sample.doubtful)
  t.mock.timers.tick(settings.deadlineMs)
  const ids = inferences.map(({ id }) => id)
  for (const index of [2, 0, 1]) flow.receive(point.point, verdict(ids[index]!))
  assert.deepEqual(
    policy.lessons.map(({ token }) => token),
    [{ round: 3 }, { round: 1 }, { round: 2 }],
  )
})

test('a policy learns nothing from an answer that was not valid', async t => {
  const { flow, policy, inferences, id } = await escalateOne(t, sample.nan)
  flow.receive(point.point, verdict(id))
  assert.equal(inferences[1]?.label, 'fault')
  assert.equal(policy.lessons.length, 0)
})

test('a policy learns nothing from a window that the limit of its point decided about', async t => {
  const model = { ...tinyLocalModel, bundle: { description: { normal: 'normal', calibration: {} } } }
  const database = openStorage(await temporaryDirectory(t))
  t.after(() => database.close())
  const keeper = new CommissioningKeeper({
    settings: new Settings(database),
    points: [{ ...point, commissioning: { minutes: 1, statistics: ['peak'] } }],
    model,
    changed: () => {},
    logger: silentLogger,
  })
  const ids: string[] = []
  const keep = async (_: TopicAddress, payload: Buffer) => void ids.push(decodePayload('escalation', payload).id)
  const { flow, policy, inferences, handle } = startFlow(t, keep, model, keeper)
  for (let i = 0; i < 60; i++) await handle(sample.normal * (1 + (i % 7) / 100))
  // The model takes it for normal, the limit does not.
  await handle(sample.doubtful)
  flow.receive(point.point, verdict(ids[0]!))
  const { reason, decidedBy, label } = inferences.at(-1)!
  assert.deepEqual([reason, decidedBy, label], ['above-limit', 'server', 'fault'])
  assert.equal(policy.lessons.length, 0)
  // The model names a fault above the limit: the policy decides, and learns.
  await handle(sample.fault)
  flow.receive(point.point, verdict(ids[1]!))
  assert.deepEqual([inferences.at(-1)!.reason, policy.lessons.length], ['curious', 1])
})

test('every published inference fits the contract, whatever the numbers behind it', async t => {
  const { sent, inferences } = await escalateOne(t, sample.nan)
  assert.equal(sent.length, 1)
  const decoded = decodePayload('inference', sent[0]!.payload)
  assert.deepEqual(decoded, inferences[0])
  assert.equal(decoded.local.confidence, null)
})

test('a window that could not be sent ends as offline', async t => {
  const parts = startFlow(t, () => Promise.reject(new Error('closed')))
  await parts.handle(sample.doubtful)
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(parts.inferences[0]?.outcome, 'offline')
  assert.equal(parts.flow.counters.snapshot().offline, 1)
  assert.equal(parts.flow.pending, 0)
})

test('a window that the model cannot judge is counted, sent and in the end unknown', async t => {
  const escalations: Buffer[] = []
  const keep = async (_: TopicAddress, payload: Buffer) => void escalations.push(payload)
  const { flow, inferences, handle } = startFlow(t, keep, {
    ...tinyLocalModel,
    classify: async () => {
      throw new FaultlineError('WINDOW_INVALID', 'the model needs the shaft speed and the window has none')
    },
  })
  await handle(sample.normal)
  const { id, reason, local } = decodePayload('escalation', escalations[0]!)
  assert.deepEqual([reason, local.confidence], ['invalid-output', null])
  flow.receive(point.point, { id, rejected: 'bad-window' })
  assert.deepEqual([inferences[0]?.label, inferences[0]?.reason], ['unknown', 'invalid-output'])
  assert.deepEqual(flow.counters.snapshot(), { ...flow.counters.snapshot(), windows: 1, rejected: 1, pending: 0 })
})

test('a server that wants no more for a while gets no more, and then again', async t => {
  let now = 1_000
  t.mock.method(performance, 'now', () => now)
  let escalations = 0
  const { flow, inferences, handle } = startFlow(t, async () => void escalations++)
  await handle(sample.doubtful)
  t.mock.timers.tick(settings.deadlineMs)
  const { id } = inferences[0]!
  // Of a window or a point that nobody knows here, or without a time: no reason to stop.
  flow.receive(point.point, { id: 'another', rejected: 'overloaded', retryAfterMs: 500 })
  flow.receive('elsewhere', { id, rejected: 'overloaded', retryAfterMs: 500 })
  await handle(sample.doubtful)
  assert.equal(escalations, 2)

  flow.receive(point.point, { id, rejected: 'overloaded', retryAfterMs: 500 })
  const { escalated } = flow.bytes
  now += 499
  await handle(sample.doubtful)
  assert.equal(escalations, 2)
  assert.equal(flow.bytes.escalated, escalated)
  const { outcome, decidedBy, label } = inferences.at(-1)!
  assert.deepEqual([outcome, decidedBy, label], ['rejected', 'local-fallback', 'normal'])
  assert.deepEqual(flow.counters.snapshot(), { ...flow.counters.snapshot(), windows: 3, rejected: 1, pending: 1 })

  now += 1
  await handle(sample.doubtful)
  assert.equal(escalations, 3)
})

test('a server that errs cannot silence a device for ever', async t => {
  let now = 1_000
  t.mock.method(performance, 'now', () => now)
  let escalations = 0
  const { flow, inferences, handle } = startFlow(t, async () => void escalations++)
  await handle(sample.doubtful)
  t.mock.timers.tick(settings.deadlineMs)
  flow.receive(point.point, { id: inferences[0]!.id, rejected: 'overloaded', retryAfterMs: 1e300 })
  now += 600_000
  await handle(sample.doubtful)
  assert.equal(escalations, 2)
})

test('an inference that does not fit the contract is reported, and its window has ended all the same', async t => {
  const { flow, inferences, failures, sent, id } = await escalateOne(t, sample.doubtful)
  flow.receive(point.point, { ...verdict(id), label: 'x'.repeat(65) })
  assert.equal(sent.length, 1)
  assert.equal(failures.length, 1)
  assert.equal(inferences.length, 2)
  assert.equal(flow.revisions, 1)
})
