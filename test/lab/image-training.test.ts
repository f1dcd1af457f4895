import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { Random } from '@faultline/inference'
import * as tf from '@tensorflow/tfjs'
import { chooseBackend } from '../../lab/training/backend.ts'
import { cifarClasses } from '../../lab/training/images/cifar.ts'
import { trainImages } from '../../lab/training/images/images.ts'
import { type ImagePlan, trainImageNetwork } from '../../lab/training/images/trainer.ts'
import { TrainingImages } from '../../lab/training/images/training-images.ts'
import { whiteningFilters } from '../../lab/training/images/whitening.ts'
import { verifyOnEngines } from '../../lab/verify.ts'
import { missingEngine } from '../inference/bundles.ts'
import { temporaryDirectory } from '../support/temp.ts'

const plan: ImagePlan = {
  network: { name: 'image-local', widths: [8, 8, 8] },
  batch: 50,
  cycles: [{ epochs: 2, smallEpochs: 1, rate: 40 }],
  smoothing: 0.1,
  smallSize: 24,
  teacherShare: 0,
  mirrored: false,
}

/** Every class has a colour of its own, seen through noise. */
function colouredImages(count: number, seed: number): { labels: number[]; pixels: Uint8Array } {
  const random = new Random(seed)
  const labels = Array.from({ length: count }, (_, i) => i % cifarClasses.length)
  const pixels = new Uint8Array(count * 3072)
  for (const [image, label] of labels.entries())
    for (let at = 0; at < 3072; at++) {
      const colour = [label * 25, 225 - label * 25, (label % 2) * 200][at % 3]!
      pixels[image * 3072 + at] = Math.min(255, Math.max(0, colour + 30 * random.normal()))
    }
  return { labels, pixels }
}

function imageSet(count: number, seed: number): TrainingImages {
  const { labels, pixels } = colouredImages(count, seed)
  return new TrainingImages(pixels, Uint8Array.from(labels), 32, 32)
}

/** As CIFAR-10's files have them: a label byte, then red, green and blue planes. */
async function writeBatch(path: string, count: number, seed: number): Promise<void> {
  const { labels, pixels } = colouredImages(count, seed)
  const bytes = new Uint8Array(count * 3073)
  for (const [image, label] of labels.entries()) {
    bytes[image * 3073] = label
    for (let channel = 0; channel < 3; channel++)
      for (let pixel = 0; pixel < 1024; pixel++)
        bytes[image * 3073 + 1 + channel * 1024 + pixel] = pixels[image * 3072 + pixel * 3 + channel]!
  }
  await writeFile(path, bytes)
}

describe('image training', { skip: missingEngine('tfjs-node') }, () => {
  test('writes a pair that every engine agrees on, in half precision, and states what it measured', async t => {
    const [data, out, work] = [await temporaryDirectory(t), await temporaryDirectory(t), await temporaryDirectory(t)]
    await writeBatch(join(data, 'data_batch_1.bin'), 600, 1)
    await writeBatch(join(data, 'test_batch.bin'), 100, 2)
    const cycles = [{ epochs: 6, smallEpochs: 1, rate: 40 }]
    const server = { ...plan, network: { name: 'image-server', widths: [8, 8, 8] as const }, cycles, mirrored: true }
    const local = { ...plan, cycles, teacherShare: 0.5 }
    const pair = await trainImages({ data, out, work, seed: 1, plans: { local, server } })
    for (const bundle of [pair.local, pair.server]) {
      const { passed } = await verifyOnEngines(bundle)
      assert.ok(passed.includes('onnx') && passed.includes('tfjs-wasm'), String(passed))
      const { training, formats, calibration } = bundle.description
      const { accuracy, images } = training.metrics.test as { accuracy: number; images: number }
      assert.equal(images, 100)
      assert.ok(accuracy > 0.2, `${bundle.description.name} is right on ${accuracy} of colours`)
      assert.equal(calibration.reliability!.samples, 60)
      const model = await tf.loadLayersModel(`file://${join(bundle.directory, formats.tfjs!.model.path)}`)
      assert.equal(formats.tfjs!.weights[0]!.bytes, 2 * model.countParams())
      model.dispose()
    }
    assert.ok(pair.local.description.calibration.threshold! >= 0)
  })

  test('goes on where a stopped run left off, to the same network', async t => {
    await chooseBackend()
    const work = await temporaryDirectory(t)
    const images = imageSet(200, 3)
    const run = { seed: 1, classes: 10 }
    const cycles = [...plan.cycles, { epochs: 2, smallEpochs: 0, rate: 20 }]
    const restarted = { ...plan, cycles }
    const whole = await trainImageNetwork(restarted, images, { ...run, checkpoint: join(work, 'whole') })
    const checkpoint = join(work, 'parts')
    const stop = () => {
      throw new Error('stopped')
    }
    for (const _ of [1, 2, 3])
      await assert.rejects(trainImageNetwork(restarted, images, { ...run, checkpoint, onEpoch: stop }), /stopped/)
    const epochs: number[] = []
    const again = await trainImageNetwork(restarted, images, {
      ...run,
      checkpoint,
      onEpoch: epoch => epochs.push(epoch),
    })
    assert.deepEqual(epochs, [4])
    for (const [i, variable] of whole.network.variables.entries()) {
      const difference = tf.tidy(() => tf.max(tf.abs(tf.sub(variable, again.network.variables[i]!))).dataSync()[0]!)
      assert.ok(difference < 1e-3, `variable ${i} differs by ${difference}`)
    }
  })

  test('refuses the checkpoint of another plan', async t => {
    await chooseBackend()
    const checkpoint = join(await temporaryDirectory(t), 'checkpoint')
    const run = { seed: 1, classes: 10, checkpoint }
    await trainImageNetwork({ ...plan, smoothing: 0 }, imageSet(100, 3), run)
    await assert.rejects(trainImageNetwork(plan, imageSet(100, 3), run), { code: 'CONFIG_INVALID' })
  })
})

test('whitened patches are uncorrelated and of unit variance', async () => {
  await chooseBackend()
  const images = imageSet(60, 4)
  const covariance = tf.tidy(() => {
    const rows = Uint32Array.from({ length: images.count }, (_, i) => i)
    const x = tf.tensor4d(images.prepared(rows), [images.count, 32, 32, 3])
    const answers = tf.conv2d(x, whiteningFilters(images), 1, 'valid').reshape([-1, 24]).slice([0, 0], [-1, 12])
    return tf.div(tf.matMul(answers, answers, true), answers.shape[0]).arraySync() as number[][]
  })
  for (const [i, row] of covariance.entries())
    for (const [j, value] of row.entries()) {
      // A direction of little variance is left small on purpose.
      if (i === j) assert.ok(value > 0.9 && value < 1.001, `variance ${value}`)
      else assert.ok(Math.abs(value) < 1e-3, `covariance ${value}`)
    }
})

test('an image is seen as it is and mirrored in turn, moved by two pixels at most', () => {
  const images = imageSet(40, 5)
  const rows = Uint32Array.from({ length: images.count }, (_, i) => i)
  const mirrored = rows.filter(row => images.mirrors(row, 0)).length
  assert.ok(mirrored > 8 && mirrored < 32, `${mirrored} of 40 are mirrored`)
  for (const row of rows) assert.notEqual(images.mirrors(row, 0), images.mirrors(row, 1))
  // One bright column tells where an image went.
  const pixels = new Uint8Array(images.size)
  for (let y = 0; y < 32; y++) pixels.fill(255, (y * 32 + 10) * 3, (y * 32 + 11) * 3)
  const one = new TrainingImages(pixels, Uint8Array.of(0), 32, 32)
  const random = new Random(1)
  const columns = new Set<number>()
  for (let epoch = 0; epoch < 100; epoch++) {
    const line = one.varied(Uint32Array.of(0), epoch, random).subarray(0, 96)
    columns.add(line.indexOf(Math.max(...line)) / 3)
  }
  assert.deepEqual(
    [...columns].map(column => Math.floor(column)).sort((a, b) => a - b),
    [8, 9, 10, 11, 12, 19, 20, 21, 22, 23],
  )
})
