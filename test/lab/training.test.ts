import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { createEngine, engineNames, loadBundle, verifyGolden } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { evaluateBearings, trainBearings } from '../../lab/index.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { writeSmallDataset } from './support.ts'

test('a pair trained on simulated machines alone works on every engine, and a seed repeats it', async t => {
  const out = await temporaryDirectory(t)
  const options = { seed: 3, perClass: 150, effort: 0.5 }
  const first = await trainBearings({ ...options, out: join(out, 'first') })
  const again = await trainBearings({ ...options, out: join(out, 'again') })
  for (const role of ['local', 'server'] as const) {
    const { description } = first[role]
    assert.equal(description.role, role)
    assert.equal(description.formats.onnx!.sha256, again[role].description.formats.onnx!.sha256)
    const { accuracy } = description.training.metrics.simulatedTest as { accuracy: number }
    assert.ok(accuracy > 0.8, `${role} is right on ${accuracy} of simulated windows`)
    let engines = 0
    for (const name of engineNames) {
      const network = await createEngine(name)
        .load(await loadBundle(join(out, 'first', description.name)))
        .catch(error => {
          assert.ok(error instanceof FaultlineError && error.code === 'ENGINE_UNAVAILABLE', String(error))
        })
      if (!network) continue
      await verifyGolden(network, first[role])
      await network.dispose()
      engines++
    }
    assert.ok(engines > 0)
  }
})

test('a pair trained on recordings states its split and every metric, and can be evaluated again', async t => {
  const [data, out] = [await temporaryDirectory(t), await temporaryDirectory(t)]
  await writeSmallDataset(data)
  const { local, server } = await trainBearings({ data, out, seed: 1, perClass: 40, effort: 0.1 })
  for (const { description } of [local, server]) {
    const { split, metrics } = description.training
    assert.equal(split.train.length + split.validation.length + split.test.length, 36 + 3)
    assert.equal(split.test.filter(part => part.from !== undefined).length, 1)
    for (const name of ['cwruTest', 'simulatedTest', 'rmsBaseline']) assert.ok(metrics[name], name)
  }
  const { windowsUsed } = local.description.training.metrics as { windowsUsed: { validation: Record<string, number> } }
  const { recorded, simulated } = windowsUsed.validation
  assert.equal(local.description.calibration.correctness?.samples, recorded! + simulated!)
  assert.equal(server.description.calibration.correctness, undefined)
  const threshold = local.description.calibration.threshold!
  assert.ok(threshold >= 0 && threshold <= 1)
  const evaluation = await evaluateBearings(data, out)
  const { accuracy, windows } = local.description.training.metrics.cwruTest as { accuracy: number; windows: number }
  assert.equal(evaluation.local.windows, windows)
  // The dither differs, so a window on the edge may fall to the other side.
  assert.ok(Math.abs(evaluation.local.accuracy - accuracy) < 0.05)
  assert.equal(evaluation.hierarchical.threshold, threshold)
})
