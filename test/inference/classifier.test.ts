import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Bearing,
  BearingSimulator,
  Classifier,
  classificationOf,
  extractFeatures,
  isValid,
  loadClassifier,
  skf6203,
  skf6205,
  type Window,
} from '@faultline/inference'
import { copyOf, editDescription, fixture, withCode } from './bundles.ts'
import { near, sine, windowOf } from './signals.ts'

const simulated = (count: number, samples: number): Window[] => {
  const simulator = new BearingSimulator({ rateHz: 12_000, shaftHz: 30, fault: 'inner-race', seed: 1 })
  return Array.from({ length: count }, () => windowOf(simulator.next(samples), 12_000, simulator.shaftHz))
}

async function loaded(t: { after(clean: () => Promise<void>): void }, directory: string) {
  const classifier = await Classifier.load(directory, { engine: 'onnx' })
  t.after(() => classifier.dispose())
  return classifier
}

test('a classifier says what it is and what it takes', async t => {
  const classifier = await loaded(t, fixture('tiny-features'))
  assert.equal(classifier.engine, 'onnx')
  assert.equal(classifier.task, 'bearing-fault')
  assert.deepEqual(classifier.classes, ['normal', 'inner-race', 'outer-race'])
  assert.deepEqual(classifier.model, { name: 'tiny-features', version: '1.0.0', digest: classifier.bundle.digest })
  assert.ok(classifier.input.kind === 'features' && classifier.input.samples === 512)
})

test('windows are classified as one batch, each as it would be alone', async t => {
  for (const [name, samples] of [
    ['tiny-features', 512],
    ['tiny-signal', 64],
  ] as const) {
    const classifier = await loaded(t, fixture(name))
    const windows = simulated(5, samples)
    const together = await classifier.classify(windows)
    assert.equal(together.length, 5)
    for (const [i, { classification }] of together.entries()) {
      assert.ok(isValid(classification.probabilities, 3))
      assert.equal(classification.confidence, Math.max(...classification.probabilities))
      assert.equal(
        classifier.classes[classification.probabilities.indexOf(classification.confidence)],
        classification.label,
      )
      const [alone] = await classifier.classify([windows[i]!])
      assert.ok(near(alone!.classification.confidence, classification.confidence, 1e-4))
    }
  }
})

test('a model on features gives the features back, a model on the signal does not', async t => {
  const [window] = simulated(1, 512)
  const [onFeatures] = await (await loaded(t, fixture('tiny-features'))).classify([window!])
  assert.deepEqual(onFeatures!.features, extractFeatures(window!))
  const [onSignal] = await (await loaded(t, fixture('tiny-signal'))).classify(simulated(1, 64))
  assert.equal(onSignal!.features, undefined)
})

test('a higher temperature makes the same answer less confident', async t => {
  const warm = await copyOf(t, 'tiny-signal')
  await editDescription(warm, ({ calibration }) => {
    calibration.temperature = 20
  })
  const windows = simulated(1, 64)
  const [before] = await (await loaded(t, fixture('tiny-signal'))).classify(windows)
  const [after] = await (await loaded(t, warm)).classify(windows)
  assert.equal(after!.classification.label, before!.classification.label)
  assert.ok(after!.classification.confidence < before!.classification.confidence)
})

test('no windows give no classifications', async t => {
  assert.deepEqual(await (await loaded(t, fixture('tiny-signal'))).classify([]), [])
})

test('a window that does not fit is refused before anything is run', async t => {
  const classifier = await loaded(t, fixture('tiny-features'))
  assert.throws(() => classifier.prepare(windowOf(sine(100, 12_000, 50))), withCode('WINDOW_INVALID'))
  await assert.rejects(classifier.classify([windowOf(sine(512, 12_000, 50), 8_000)]), withCode('WINDOW_INVALID'))
})

test('loading fails on golden outputs that do not agree', async t => {
  const directory = await copyOf(t, 'tiny-signal')
  await editDescription(directory, ({ golden }) => {
    golden.outputs[0]![0]! += 0.01
  })
  await assert.rejects(Classifier.load(directory, { engine: 'onnx' }), withCode('BUNDLE_GOLDEN_MISMATCH'))
})

test('without a named engine one is chosen by trial', async t => {
  const classifier = await Classifier.load(fixture('tiny-signal'))
  t.after(() => classifier.dispose())
  assert.equal(classifier.engine, 'onnx')
  await classifier.dispose()
  await classifier.dispose()
})

test('a configuration names one engine, or leaves the choice to a trial that says what it passed over', async t => {
  for (const engine of ['tfjs-wasm', 'auto'] as const) {
    const { classifier, enginesRejected } = await loadClassifier(fixture('tiny-signal'), { engine })
    t.after(() => classifier.dispose())
    assert.equal(classifier.engine, engine === 'auto' ? 'onnx' : engine)
    assert.deepEqual(enginesRejected, [])
  }
  const withoutOnnx = await copyOf(t, 'tiny-signal')
  await editDescription(withoutOnnx, ({ formats }) => {
    delete formats.onnx
  })
  const { classifier, enginesRejected } = await loadClassifier(withoutOnnx)
  t.after(() => classifier.dispose())
  assert.notEqual(classifier.engine, 'onnx')
  assert.equal(enginesRejected[0]?.engine, 'onnx')
})

test("order features look at the window's bearing, else at the bundle's, else at a 6205", async t => {
  const directory = await copyOf(t, 'tiny-features')
  const plain = await loaded(t, directory)
  await editDescription(directory, description => {
    description.bearing = 'skf-6203'
  })
  const described = await loaded(t, directory)
  const [window] = simulated(1, 512)
  const of = (classifier: Classifier, bearing?: Bearing) => {
    const { values, features } = classifier.prepare({ ...window!, bearing })
    return { values: [...values], bpfo1: features!.bpfo1 }
  }
  const [as6203, as6205] = [of(plain, skf6203), of(plain, skf6205)]
  assert.notEqual(as6203.bpfo1, as6205.bpfo1)
  assert.deepEqual(of(plain), as6205)
  assert.deepEqual(of(described), as6203)
  assert.deepEqual(of(described, skf6205), as6205)
})

test('probabilities a rounding error beyond 0 and 1 are brought back, and what is further off is no answer', () => {
  const sure = classificationOf(['a', 'b', 'c'], [1.0000001, -1e-9, 0])
  assert.ok(isValid([1.0000001, -1e-9, 0], 3))
  assert.deepEqual([sure.confidence, ...sure.probabilities], [1, 1, 0, 0])
  for (const wrong of [
    [1.01, -0.01, 0],
    [0.5, 0.4, 0],
    [Number.NaN, 1, 0],
  ])
    assert.ok(!isValid(wrong, 3) && !isValid(classificationOf(['a', 'b', 'c'], wrong).probabilities, 3))
})
