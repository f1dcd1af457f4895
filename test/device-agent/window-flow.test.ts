import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { RuntimeSettings } from '@faultline/device-agent'
import type { Feedback, Policy } from '@faultline/inference'
import { decodePayload, type Inference, type TopicAddress, type Verdict } from '@faultline/protocol'
import { WindowFlow } from '../../device-agent/window-flow.ts'
import { ManualSource } from '../support/manual-source.ts'
import { sample, tinyLocalModel, tinyWindow } from '../support/tiny-models.ts'

const point = { point: 'motor-de', machine: 'press-3', source: new ManualSource() }
const settings: RuntimeSettings = {
  policy: { name: 'listening', parameters: {} },
  price: 0.25,
  auditRate: 0,
  deadlineMs: 100,
  reporting: 'every',
  summaryIntervalS: 60,
  healthIntervalS: 60,
}

/** Escalates everything and remembers what it was taught. */
class ListeningPolicy implements Policy {
  readonly name = 'listening'
  readonly lessons: Feedback[] = []
  decide() {
    return { action: 'escalate', reason: 'curious', numbers: { score: Number.NaN, price: 0.25 } } as const
  }
  learn(feedback: Feedback): void {
    this.lessons.push(feedback)
  }
  snapshot() {
    return { policy: this.name, version: 1, data: null }
  }
  restore(): void {}
}

function startFlow(t: TestContext, publishRaw: () => Promise<void> = async () => {}) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const policy = new ListeningPolicy()
  const inferences: Inference[] = []
  const sent: { address: TopicAddress; payload: Buffer }[] = []
  const flow = new WindowFlow(
    {
      site: 'plant-a',
      device: 'pi-1',
      model: tinyLocalModel,
      points: [point],
      publisher: { online: true, publishRaw },
      send: (address, payload) => sent.push({ address, payload }),
      announce: inference => inferences.push(inference),
    },
    { settings, policy },
  )
  const handle = (first: number) => flow.handle(point, { window: tinyWindow(first), at: new Date() })
  return { flow, policy, inferences, sent, handle }
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

test('a policy learns nothing from an answer that was not valid', async t => {
  const { flow, policy, inferences, id } = await escalateOne(t, sample.nan)
  flow.receive(point.point, verdict(id))
  assert.equal(inferences[1]?.label, 'fault')
  assert.equal(policy.lessons.length, 0)
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
