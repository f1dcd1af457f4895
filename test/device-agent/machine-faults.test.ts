import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MachineFaults } from '../../device-agent/decisions/machine-faults.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { startDevice, startServer } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { sample, tinyLocalModel } from '../support/tiny-models.ts'

const machine = 'press-3'

test('a machine is in trouble while any of its points last saw a fault', () => {
  const faults = new MachineFaults('normal')
  faults.inferred('de', { machine, label: 'ball' })
  faults.inferred('fe', { machine, label: 'normal' })
  assert.ok(faults.has(machine) && !faults.has('fan-1'))
  faults.inferred('de', { machine, label: 'unknown' })
  assert.ok(!faults.has(machine))
})

test('where a model knows no normal class, its labels are no faults', () => {
  const faults = new MachineFaults(undefined)
  faults.inferred('de', { machine, label: 'ball' })
  assert.ok(!faults.has(machine))
})

test('an escalation says that the machine is in alarm once an inference has named a fault', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  await startServer(t, broker)
  const bundle = { description: { normal: 'normal', calibration: {} } }
  const device = await startDevice(t, broker, { classifier: { ...tinyLocalModel, bundle } })
  await device.online()
  // The server takes both of these for faults.
  await device.infer(sample.doubtful)
  await device.infer(sample.doubtful)
  const escalations = await watcher.see('escalation', () => true, 2)
  assert.deepEqual(
    escalations.map(({ alarm }) => alarm),
    [undefined, true],
  )
})
