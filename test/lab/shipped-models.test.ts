import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { Classifier, chooseEngine, createEngine, loadBundle, Random, skf6205, verifyGolden } from '@faultline/inference'
import { simulatedWindows } from '../../lab/data/simulated-windows.ts'
import { evaluateBearings } from '../../lab/index.ts'
import { assertSeparate } from '../../lab/splits.ts'
import { bearingSignal } from '../../lab/training/bearing-models.ts'
import { dataDirectory, missingData } from '../support/data.ts'

const models = join(import.meta.dirname, '..', '..', 'models')
const limits = { 'bearing-local': 30_000, 'bearing-server': 5_000_000 }

for (const [name, limit] of Object.entries(limits)) {
  test(`${name} is whole, small enough and gives its golden outputs`, async () => {
    const bundle = await loadBundle(join(models, name))
    const { onnx, tfjs } = bundle.description.formats
    assert.ok(onnx!.bytes <= limit)
    assert.ok([tfjs!.model, ...tfjs!.weights].reduce((sum, file) => sum + file.bytes, 0) <= limit)
    const { engine } = await chooseEngine(bundle)
    const network = await createEngine(engine).load(bundle)
    await verifyGolden(network, bundle)
    await network.dispose()
  })

  test(`${name} was tested on recordings it was not trained on`, async () => {
    const { split } = (await loadBundle(join(models, name))).description.training
    const parts = [...split.train, ...split.validation, ...split.test]
    const recordings = parts.map(part => ({
      id: part.recording,
      class: 'normal' as const,
      group: part.recording,
      rateHz: bearingSignal.rateHz,
      samples: part.to ?? Number.POSITIVE_INFINITY,
    }))
    assertSeparate(split, recordings)
    assert.ok(split.test.length >= 15)
  })
}

test('the pair is better than its local half for few escalations, and does not cry wolf', async () => {
  const { metrics } = (await loadBundle(join(models, 'bearing-local'))).description.training
  const server = (await loadBundle(join(models, 'bearing-server'))).description.training.metrics
  const accuracyOf = (side: unknown) => (side as { accuracy: number }).accuracy
  const { cwruTest } = metrics.hierarchical as {
    cwruTest: { accuracy: number; escalated: number; falseAlarmRate: number }
  }
  assert.ok(cwruTest.accuracy > accuracyOf(metrics.cwruTest))
  assert.ok(accuracyOf(server.cwruTest) > cwruTest.accuracy)
  assert.ok(cwruTest.escalated < 0.3)
  assert.ok(cwruTest.falseAlarmRate < 0.02)
})

test('both know simulated machines they never met', async () => {
  const windows = simulatedWindows(60, bearingSignal, new Random(987_654_321), skf6205)
  for (const name of Object.keys(limits)) {
    const classifier = await Classifier.load(join(models, name))
    const answers = await classifier.classify(windows.map(labelled => labelled.window))
    await classifier.dispose()
    const right = answers.filter((answer, i) => answer.classification.label === windows[i]!.class).length
    assert.ok(right / windows.length > 0.95, `${name}: ${right} of ${windows.length}`)
    const alarms = answers.filter(
      (answer, i) => windows[i]!.class === 'normal' && answer.classification.label !== 'normal',
    ).length
    assert.ok(alarms <= 3, `${name}: ${alarms} false alarms`)
  }
})

test('the stated accuracy is what the recordings give', { skip: missingData('cwru') }, async () => {
  const local = (await loadBundle(join(models, 'bearing-local'))).description
  const server = (await loadBundle(join(models, 'bearing-server'))).description
  const evaluation = await evaluateBearings(dataDirectory, models)
  for (const [measured, stated] of [
    [evaluation.local, local.training.metrics.cwruTest],
    [evaluation.server, server.training.metrics.cwruTest],
  ] as const) {
    const { accuracy, windows } = stated as { accuracy: number; windows: number }
    assert.equal(measured.windows, windows)
    // The dither differs, so a window on the edge may fall to the other side.
    assert.ok(Math.abs(measured.accuracy - accuracy) < 0.01, `${measured.accuracy}, stated ${accuracy}`)
  }
})
