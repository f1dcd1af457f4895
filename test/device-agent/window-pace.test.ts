import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Inference } from '@faultline/protocol'
import { type PaceSettings, WindowPace } from '../../device-agent/sensors/window-pace.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { point, startDevice } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { sample } from '../support/tiny-models.ts'

const said = (label: string) => ({ label }) as Inference

/** The seconds at which windows are judged, of one window a second. */
function judged(settings: PaceSettings, labelAt: (second: number) => string, seconds: number): number[] {
  const pace = new WindowPace('normal', settings)
  const taken: number[] = []
  for (let second = 0; second < seconds; second++) {
    if (!pace.takes(point, second * 1_000)) continue
    taken.push(second)
    pace.heard(point, said(labelAt(second)))
  }
  return taken
}

test('every window is judged unless somebody says otherwise', () => {
  assert.equal(judged({}, () => 'normal', 50).length, 50)
  assert.deepEqual(
    judged({ everyS: 10 }, () => 'normal', 35),
    [0, 10, 20, 30],
  )
})

test('a healthy point is looked at rarely, and one that is not normal at once at every window', () => {
  const taken = judged({ healthyEveryS: 10 }, second => (second >= 50 ? 'ball' : 'normal'), 60)
  assert.deepEqual(taken, [...Array.from({ length: 20 }, (_, i) => i), 29, 39, 49, 59])
  const faulty = judged({ healthyEveryS: 10 }, second => (second >= 30 ? 'ball' : 'normal'), 50)
  assert.deepEqual(faulty.slice(20), [29, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49])
})

test('without a class that means nothing is wrong no point is healthy', () => {
  const pace = new WindowPace(undefined, { healthyEveryS: 10 })
  for (let second = 0; second < 40; second++) {
    assert.ok(pace.takes(point, second * 1_000))
    pace.heard(point, said('cat'))
  }
})

test('a clock that is put back keeps no point waiting', () => {
  const pace = new WindowPace('normal', { everyS: 10 })
  assert.ok(pace.takes(point, 1e9))
  assert.ok(pace.takes(point, 1_000))
})

test('a point is paused and goes on while the agent runs, and one that is not there refuses the whole', async t => {
  const broker = await startAgentBroker(t)
  const operator = await observe(t, broker)
  const edge = await startDevice(t, broker)
  await edge.online()
  await edge.infer(sample.normal)
  await edge.configure(operator, { pace: { paused: [point] } })
  edge.source.give(sample.normal, sample.normal)
  await edge.configure(operator, { pace: { paused: ['drive'] }, price: 0.5 })
  assert.equal(edge.agent.configuration?.status, 'refused')
  assert.equal(edge.agent.configuration?.error?.message, 'pace.paused: there is no point "drive"')
  assert.equal(edge.agent.configuration?.config.price, 0.2)
  await edge.configure(operator, { pace: {} })
  await edge.infer(sample.normal)
  assert.equal(edge.counters.windows, 2)
})
