import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EnergyEstimate } from '../../device-agent/link/energy.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { startDevice } from '../support/edge.ts'
import { sample } from '../support/tiny-models.ts'

test('each byte counts what its link took when it was sent', () => {
  const energy = new EnergyEstimate({ joulesPerInference: 0.5, joulesPerByte: 0.01 })
  assert.equal(energy.total(2, 100, undefined), 2)
  assert.equal(energy.total(2, 100, 0.001), 2)
  assert.equal(energy.total(4, 200, 0.001), 3.1)
})

test('health has an estimate of energy where the constants are given, and none otherwise', async t => {
  const broker = await startAgentBroker(t)
  await broker.stop()
  const without = await startDevice(t, broker)
  assert.equal(without.agent.health?.energyJ, undefined)
  const edge = await startDevice(t, broker, { energy: { joulesPerInference: 0.25, joulesPerByte: 0 } })
  await edge.infer(sample.normal, sample.fault)
  assert.equal(edge.agent.health?.energyJ, 0.5)
})
