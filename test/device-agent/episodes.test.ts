import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findingOf, type Inference } from '@faultline/protocol'
import { startAgentBroker } from '../support/agent-broker.ts'
import { machine, startDevice, startServer } from '../support/edge.ts'
import { sample, tinyLocalModel } from '../support/tiny-models.ts'

const episodes = { agreeing: 2, holdS: 600 }
const bare = ({ label, decidedBy, outcome, reason }: Inference) => ({ label, decidedBy, outcome, reason })

test('after verdicts that agree a window is answered as the server did before, and says so', async t => {
  const broker = await startAgentBroker(t)
  await startServer(t, broker)
  const edge = await startDevice(t, broker, { episodes })
  await edge.online()
  for (let i = 0; i < 2; i++) assert.equal((await edge.infer(sample.doubtful))[0]?.decidedBy, 'server')
  const [inference] = await edge.infer(sample.doubtful)
  assert.deepEqual(bare(inference!), { label: 'fault', decidedBy: 'episode', outcome: 'accepted', reason: 'episode' })
  assert.deepEqual(inference!.episode, { label: 'fault', confidence: 0.99 })
  assert.deepEqual([inference!.confidence, inference!.local.label, inference!.server], [0.99, 'normal', undefined])
  assert.deepEqual([edge.counters.answered, edge.counters.accepted], [2, 1])
})

test('an audit judges the answer of the episode, not the one the device would have given', async t => {
  const broker = await startAgentBroker(t)
  await startServer(t, broker)
  const classifier = { ...tinyLocalModel, bundle: { description: { normal: 'normal', calibration: {} } } }
  const edge = await startDevice(t, broker, { classifier, episodes, auditRate: 1 })
  await edge.online()
  for (let i = 0; i < 2; i++) await edge.infer(sample.doubtful)
  const [inference] = await edge.infer(sample.doubtful)
  assert.deepEqual([inference!.reason, inference!.decidedBy, inference!.label], ['audit', 'server', 'fault'])
  assert.equal(findingOf(inference!, 'normal')?.finding, 'confirmed')
  const [account] = edge.agent.health!.audited!
  assert.deepEqual(account, { machine, audits: 1, silent: 0, missed: 0, wrong: 0, missedAtMost: 1 })
})
