import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BearingSimulator, Classifier, createPolicy } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { assess } from '../../device-agent/decisions/assessment.ts'
import { fixture } from '../inference/bundles.ts'
import { sample, tinyLocalModel, tinyWindow } from '../support/tiny-models.ts'

const eager = createPolicy({ name: 'never' })
const invalid = (error: unknown) => error instanceof FaultlineError && error.code === 'WINDOW_INVALID'

test('a window without the shaft speed that the model needs is not sent and never called normal', async t => {
  const model = await Classifier.load(fixture('tiny-features'), { engine: 'onnx' })
  t.after(() => model.dispose())
  const simulator = new BearingSimulator({ rateHz: 12_000, shaftHz: 29, fault: 'outer-race', seed: 1 })
  const window = { samples: simulator.next(512), shape: [512], rateHz: 12_000 }
  const { local, valid, decision, features } = await assess(window, model, eager, { price: 0.2 })
  assert.equal(valid, false)
  assert.equal(local.label, 'unknown')
  assert.deepEqual([decision.action, decision.reason], ['accept', 'no-shaft-speed'])
  assert.ok(features.rms! > 0)
  const known = await assess({ ...window, shaftHz: simulator.shaftHz }, model, eager, { price: 0.2 })
  assert.deepEqual([known.valid, known.decision.action], [true, 'accept'])
})

test('a window that is none is refused before any model sees it', async () => {
  const model = {
    ...tinyLocalModel,
    classify: async () => assert.fail('the model was asked'),
  }
  const window = tinyWindow(sample.normal)
  const none = [
    { ...window, samples: new Float32Array(0), shape: [0] },
    { ...window, samples: window.samples.with(7, Number.NaN) },
    { ...window, samples: window.samples.with(7, Number.POSITIVE_INFINITY) },
    { ...window, shape: [window.samples.length - 1] },
    { ...window, shaftHz: Number.NaN },
  ]
  for (const bad of none) await assert.rejects(assess(bad, model, eager, { price: 0.2 }), invalid)
})
