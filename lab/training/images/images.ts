import { join } from 'node:path'
import { type Bundle, type BundleDescription, probabilitiesOf, writeBundle } from '@faultline/inference'
import { Progress } from '@faultline/runtime'
import * as tf from '@tensorflow/tfjs'
import { hierarchicalMetrics, type PairAnswers, SHIPPED_PRICE } from '../../evaluation/pair.ts'
import { goldenInputs, goldenOf } from '../../import/golden.ts'
import { exportOnnx } from '../../onnx/export.ts'
import { halfArtifacts, roundToHalf } from '../../onnx/half-precision.ts'
import { requireNativeBackend } from '../backend.ts'
import { artifactsOf } from '../bundles.ts'
import { fitTemperature, reliabilityOf } from '../calibration.ts'
import { argmaxRows, classificationMetrics } from '../metrics.ts'
import { fitPair, type PairCalibration } from '../pair-calibration.ts'
import { cifarClasses, cifarInput, cifarSize, readCifar } from './cifar.ts'
import { localPlan, serverPlan } from './plans.ts'
import { epochsOf, type ImagePlan, logitsOf, type TrainingRun, trainImageNetwork } from './trainer.ts'
import type { TrainingImages } from './training-images.ts'

export interface ImageTrainingOptions {
  /** Directory of CIFAR-10's binary batches, or the one `cifar10` lies in. */
  data: string
  out: string
  /** Where a run that was stopped goes on from. */
  work: string
  seed: number
  plans?: { local: ImagePlan; server: ImagePlan }
}

/** The last of the training images, which calibrate and choose and train nothing. */
const VALIDATION_IMAGES = 2_000
/** Smoothed labels make a network less sure than it should be, so temperatures below 1 are looked at too. */
const LOWEST_TEMPERATURE = 0.25

const classes: readonly string[] = cifarClasses

/** A network as it is shipped: rounded to half precision, with its temperature. */
interface Trained {
  plan: ImagePlan
  model: tf.LayersModel
  seconds: number
  temperature: number
}

/**
 * Trains the server network, then the local one with it as a teacher; calibrates both on images that trained neither,
 * asks the test images once, and writes the bundles `image-local` and `image-server` under `out`. A run that was stopped
 * goes on after its last whole epoch. Throws `RECORDING_UNREADABLE`, `RECORDING_INVALID`, `ENGINE_UNAVAILABLE` without
 * TensorFlow's native library, `CONFIG_INVALID` for a checkpoint of another plan.
 */
export async function trainImages(options: ImageTrainingOptions): Promise<{ local: Bundle; server: Bundle }> {
  await requireNativeBackend()
  const plans = options.plans ?? { local: localPlan, server: serverPlan }
  const { files, images } = await readCifar(options.data, 'train')
  const { files: testFiles, images: test } = await readCifar(options.data, 'test')
  const split = images.count - Math.min(VALIDATION_IMAGES, Math.floor(images.count / 10))
  const [train, validation] = [images.slice(0, split), images.slice(split, images.count)]

  const server = await fit(plans.server, train, validation, options, undefined)
  const local = await fit(plans.local, train, validation, options, () =>
    answersOf(server.model, train, server.temperature),
  )

  const answers = (set: TrainingImages): PairAnswers => ({
    labels: set.labels,
    local: answersOf(local.model, set, local.temperature),
    server: answersOf(server.model, set, server.temperature),
  })
  const chosen = answers(validation)
  const final = answers(test)
  const write = (role: 'local' | 'server', own?: PairCalibration) => {
    const trained = { local, server }[role]
    const { temperature, plan, seconds } = trained
    return writeNetwork(join(options.out, plan.network.name), trained, {
      role,
      calibration: {
        temperature,
        ...own,
        reliability: reliabilityOf(chosen[role], chosen.labels, classes.length),
      },
      training: {
        at: new Date().toISOString(),
        data: ['CIFAR-10'],
        seed: options.seed,
        note: `TensorFlow's native library, ${epochsOf(plan)} epochs, ${Math.round(seconds / 60)} minutes. The last ${validation.count} training images calibrate and choose the threshold; the test images were asked once, at the end.`,
        split: {
          train: [{ recording: files.join(' '), class: 'all', from: 0, to: split }],
          validation: [{ recording: files.join(' '), class: 'all', from: split, to: images.count }],
          test: [{ recording: testFiles.join(' '), class: 'all' }],
        },
        metrics: {
          test: measured(final.labels, final[role]),
          validation: measured(chosen.labels, chosen[role]),
          ...(own ? { hierarchical: togetherAt(own.threshold, final) } : {}),
          trainingSeconds: Math.round(seconds),
        },
      },
    })
  }
  const written = await write('server')
  return { local: await write('local', fitPair(chosen, classes.length, written.digest)), server: written }
}

/** The pair's answers to the test images at the threshold. */
function togetherAt(threshold: number, final: PairAnswers) {
  const together = hierarchicalMetrics(final, classes, threshold, SHIPPED_PRICE)
  const { escalated, cost } = together
  return { ...measured(final.labels, final.local, together), threshold, price: SHIPPED_PRICE, escalated, cost }
}

async function fit(
  plan: ImagePlan,
  train: TrainingImages,
  validation: TrainingImages,
  { seed, work }: ImageTrainingOptions,
  teacher: TrainingRun['teacher'],
): Promise<Trained> {
  const { name } = plan.network
  const steps = epochsOf(plan) * Math.floor(train.count / plan.batch)
  const progress = new Progress(name, steps)
  const { network, seconds } = await trainImageNetwork(plan, train, {
    seed,
    classes: classes.length,
    checkpoint: join(work, `${name}.checkpoint`),
    teacher,
    onStep: (step, loss) => progress.update(step + 1, `loss ${loss.toFixed(3)}`),
  })
  progress.stop()
  const model = network.toLayers(cifarSize, plan.mirrored)
  roundToHalf(model)
  const temperature = fitTemperature(
    answersOf(model, validation, 1),
    validation.labels,
    classes.length,
    LOWEST_TEMPERATURE,
  )
  return { plan, model, seconds, temperature: Number(temperature.toFixed(4)) }
}

/** Row after row, as a device that loaded the bundle would have them. */
function answersOf(model: tf.LayersModel, images: TrainingImages, temperature: number): Float32Array {
  const logits = logitsOf(model, images)
  const rows = Array.from(images.labels, (_, row) =>
    probabilitiesOf(logits.subarray(row * classes.length, (row + 1) * classes.length), {
      output: 'logits',
      calibration: { temperature },
    }),
  )
  return Float32Array.from(rows.flat())
}

/** The figures that mean something for images: nothing here is "normal". */
function measured(labels: Uint8Array, probabilities: Float32Array, given?: ReturnType<typeof classificationMetrics>) {
  const { windows, accuracy, macroF1, recall, confusion } =
    given ?? classificationMetrics(labels, argmaxRows(probabilities, classes.length), classes)
  return { images: windows, accuracy, macroF1, recall, confusion }
}

async function writeNetwork(
  directory: string,
  { model, plan }: Trained,
  about: Pick<BundleDescription, 'role' | 'calibration' | 'training'>,
): Promise<Bundle> {
  const input = { ...cifarInput, mean: [...cifarInput.mean], std: [...cifarInput.std] }
  // Made-up images: those of the data set are not ours to hand on.
  const inputs = goldenInputs(input)
  const outputs = tf.tidy(() => {
    const x = tf.tensor4d(inputs.flat(), [inputs.length, ...input.shape])
    return Float32Array.from((model.predict(x) as tf.Tensor).dataSync())
  })
  return writeBundle(
    directory,
    {
      format: 1,
      name: plan.network.name,
      version: '1.0.0',
      task: 'image-class',
      classes: [...classes],
      input,
      output: 'logits',
      golden: goldenOf(inputs, outputs, classes.length),
      ...about,
    },
    { onnx: exportOnnx(model, { half: true }), tfjs: halfArtifacts(await artifactsOf(model)) },
  )
}
