import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BearingSimulator } from '@faultline/inference'
import { sensorFaultOf } from '../../device-agent/sensors/sensor-check.ts'
import { type SensorState, SensorWatch } from '../../device-agent/sensors/sensor-watch.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { startDevice } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { sample } from '../support/tiny-models.ts'

const rateHz = 12_000
/** Asked anew: what was asserted of it a moment ago holds no more. */
const stateOf = (watch: SensorWatch): SensorState | undefined => watch.state
const simulated = () =>
  new BearingSimulator({ rateHz, shaftHz: 29, fault: 'outer-race', seed: 1, severity: () => 1 }).next(2_048)
const faultOf = (samples: Float32Array, gap?: true) =>
  sensorFaultOf({ window: { samples, shape: [samples.length], rateHz }, at: new Date(), ...(gap && { gap }) })

test('a machine with a fault is no sensor with a fault', () => {
  assert.equal(faultOf(simulated()), undefined)
})

test('a signal cut off at the range of its sensor is clipped', () => {
  const samples = simulated()
  const peak = samples.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  assert.equal(faultOf(samples.map(value => Math.max(-peak / 4, Math.min(peak / 4, value)))), 'clipped')
})

test('a quiet sensor of few bits that rests at its highest value is not clipped', () => {
  const samples = simulated()
  const peak = samples.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  assert.equal(faultOf(samples.map(value => Math.round((4 * value) / peak))), undefined)
})

test('a sine of whole numbers stays at its highest value for long, and is not clipped', () => {
  for (const amplitude of [100, 2_000, 32_000]) {
    const sine = (cut: number) =>
      Float32Array.from({ length: 2_048 }, (_, i) => Math.min(cut, Math.round(amplitude * Math.sin(i / 60))))
    assert.equal(faultOf(sine(amplitude)), undefined, String(amplitude))
    assert.equal(faultOf(sine(Math.round(0.9 * amplitude))), 'clipped', String(amplitude))
  }
})

test('one value, a NaN and missing samples are told apart', () => {
  assert.equal(faultOf(new Float32Array(2_048).fill(0.7)), 'flat')
  assert.equal(faultOf(simulated().fill(Number.NaN, 5, 6)), 'not-finite')
  assert.equal(faultOf(simulated(), true), 'gap')
})

test('a fault is told when it begins and ends, and counts the windows it took', () => {
  const told: (SensorState | undefined)[] = []
  const watch = new SensorWatch({ point: 'motor-de', intervalMs: () => 1_000, changed: state => told.push(state) })
  for (const fault of [undefined, 'flat', 'flat', 'gap', undefined, undefined] as const) watch.window(fault)
  watch.end()
  assert.deepEqual(
    told.map(state => state?.fault),
    ['flat', 'gap', undefined],
  )
  watch.window('flat')
  watch.window('flat')
  assert.equal(watch.state?.windows, 2)
  watch.end()
})

test('a sensor that gives no windows is silent until one comes, and one with an error says which', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let changes = 0
  const watch = new SensorWatch({ point: 'motor-de', intervalMs: () => 4_000, changed: () => changes++ })
  watch.begin()
  t.mock.timers.tick(19_999)
  assert.equal(watch.state, undefined)
  t.mock.timers.tick(1)
  assert.equal(stateOf(watch)?.fault, 'silent')
  watch.window(undefined)
  assert.equal(watch.state, undefined)
  watch.failed(new Error('unplugged'))
  assert.deepEqual(stateOf(watch)?.error, { code: 'INTERNAL', message: 'unplugged' })
  assert.equal(changes, 3)
  watch.end()
})

test('a window of a faulty sensor is not judged, whatever the model would say of it', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const edge = await startDevice(t, broker, { policy: { name: 'never', parameters: {} } })
  await edge.online()
  edge.source.giveFlat(sample.fault)
  const faulty = await watcher.seeOne('health', ({ points }) => points !== undefined)
  assert.deepEqual([faulty.points![0]!.fault, faulty.points![0]!.windows], ['flat', 1])
  // Windows are handled one after the other: when this one is published, the flat one would have been.
  edge.source.give(sample.normal)
  await watcher.seeOne('inference', ({ label }) => label === 'normal')
  assert.deepEqual([watcher.of('inference').length, watcher.of('escalation').length, edge.counters.windows], [1, 0, 1])
})
