import { Random } from '@faultline/inference'
import * as tf from '@tensorflow/tfjs'
import { shuffle } from '../../shuffle.ts'
import { type Checkpoint, readCheckpoint, valuesOf, writeCheckpoint } from './checkpoint.ts'
import { ImageNetwork, type ImageNetworkShape } from './network.ts'
import { Optimiser } from './optimiser.ts'
import type { TrainingImages } from './training-images.ts'
import { whiteningFilters } from './whitening.ts'

/** How one of the two image networks is trained. */
export interface ImagePlan {
  network: ImageNetworkShape
  batch: number
  /** One after the other; each goes on from the average the one before ended with. */
  cycles: readonly TrainingCycle[]
  /** Share of the target that is spread over all classes. */
  smoothing: number
  /** Pixels a side of the images in small epochs. */
  smallSize: number
  /** Share of the target that is a teacher's answer rather than the label. */
  teacherShare: number
  /** Ship a network that asks about the mirror image as well: a little better for twice the arithmetic. */
  mirrored: boolean
}

/** A rise and a fall of the learning rate (warm restarts: Loshchilov and Hutter, arXiv 1608.03983). */
export interface TrainingCycle {
  epochs: number
  /** Epochs at its start that see small images, at little more than half the arithmetic. */
  smallEpochs: number
  /** Peak learning rate per kilostep. */
  rate: number
}

export function epochsOf(plan: ImagePlan): number {
  return plan.cycles.reduce((sum, { epochs }) => sum + epochs, 0)
}

export interface TrainingRun {
  seed: number
  classes: number
  /** Where the run keeps what it needs to go on. */
  checkpoint: string
  /** A teacher's probabilities of every training image, row after row; asked when there is something left to train. */
  teacher?: () => Float32Array
  /** Called after every epoch with its mean loss. */
  onEpoch?: (epoch: number, loss: number, seconds: number) => void
  onStep?: (step: number, loss: number) => void
}

/**
 * Trains on every image of `images`, from the last checkpoint where there is one, and writes one after every epoch.
 * @returns The network with its slow average in place, and the seconds all epochs took.
 */
export async function trainImageNetwork(
  plan: ImagePlan,
  images: TrainingImages,
  run: TrainingRun,
): Promise<{ network: ImageNetwork; seconds: number }> {
  const { mirrored, ...trained } = plan
  const planText = JSON.stringify({ plan: trained, seed: run.seed, images: images.count })
  const stored = await readCheckpoint(run.checkpoint, planText)
  const random = new Random(run.seed)
  const network = new ImageNetwork(plan.network, whiteningFilters(images), run.classes, random)
  const { kernels, offsets } = network.learned
  const batches = Math.floor(images.count / plan.batch)
  const averaged = network.variables
  const optimiserOf = ({ epochs, rate }: TrainingCycle) =>
    new Optimiser({ kernels, offsets, averaged, steps: epochs * batches, batch: plan.batch, rate })
  const starts = plan.cycles.map((_, i) => epochsOf({ ...plan, cycles: plan.cycles.slice(0, i) }))
  const begin = stored?.epoch ?? 0
  // At the end of a cycle its own optimiser has the average to go on from.
  let cycle = Math.max(
    0,
    starts.findLastIndex(start => start < begin),
  )
  let optimiser = optimiserOf(plan.cycles[cycle]!)
  const variables = () => [...network.variables, ...optimiser.variables]
  const order = stored ? restore(stored, variables()) : random
  let seconds = stored?.seconds ?? 0
  const teacher = begin < epochsOf(plan) ? run.teacher?.() : undefined

  for (let epoch = begin; epoch < epochsOf(plan); epoch++) {
    if (epoch === starts[cycle + 1]) {
      optimiser.finish()
      optimiser.dispose()
      optimiser = optimiserOf(plan.cycles[++cycle]!)
    }
    const begun = performance.now()
    const rows = shuffle(
      Uint32Array.from({ length: images.count }, (_, i) => i),
      order,
    )
    let sum = 0
    for (let batch = 0; batch < batches; batch++) {
      const step = epoch * batches + batch
      const loss = trainStep(rows.subarray(batch * plan.batch, (batch + 1) * plan.batch), epoch, step)
      sum += loss
      run.onStep?.(step, loss)
      // Lets signals in between steps.
      await new Promise(resolve => setImmediate(resolve))
    }
    seconds += (performance.now() - begun) / 1000
    const state = { plan: planText, epoch: epoch + 1, seconds, random: order.state, variables: valuesOf(variables()) }
    await writeCheckpoint(run.checkpoint, state)
    run.onEpoch?.(epoch + 1, sum / batches, seconds)
  }
  optimiser.finish()
  optimiser.dispose()
  return { network, seconds }

  function trainStep(rows: Uint32Array, epoch: number, step: number): number {
    return tf.tidy(() => {
      const full = tf.tensor4d(images.varied(rows, epoch, order), [rows.length, images.height, images.width, 3])
      const small = epoch - starts[cycle]! < plan.cycles[cycle]!.smallEpochs
      const x = small ? tf.image.resizeBilinear(full, [plan.smallSize, plan.smallSize], false, true) : full
      const targets = tf.tensor2d(targetsOf(rows), [rows.length, run.classes])
      const { value, grads } = tf.variableGrads(
        () => crossEntropy(network.logits(x), targets),
        [...kernels, ...offsets],
      )
      optimiser.step(step - starts[cycle]! * batches, grads)
      return value.dataSync()[0]! / rows.length
    })
  }

  /** Labels, smoothed, and mixed with the teacher's answers. */
  function targetsOf(rows: Uint32Array): Float32Array {
    const { classes } = run
    const out = new Float32Array(rows.length * classes)
    const taught = teacher ? plan.teacherShare : 0
    for (const [row, image] of rows.entries()) {
      for (let i = 0; i < classes; i++) {
        const hard = plan.smoothing / classes + (i === images.labels[image] ? 1 - plan.smoothing : 0)
        out[row * classes + i] = (1 - taught) * hard + (teacher ? taught * teacher[image * classes + i]! : 0)
      }
    }
    return out
  }
}

/** Summed over the batch, as the learning rates expect it. */
function crossEntropy(logits: tf.Tensor2D, targets: tf.Tensor2D): tf.Scalar {
  return tf.neg(tf.sum(tf.mul(targets, tf.logSoftmax(logits))))
}

function restore(stored: Checkpoint, variables: readonly tf.Variable[]): Random {
  for (const [i, variable] of variables.entries()) variable.assign(tf.tensor(stored.variables[i]!, variable.shape))
  return new Random(stored.random)
}

/** Logits of images as they are, row after row. */
export function logitsOf(model: tf.LayersModel, images: TrainingImages, batch = 500): Float32Array {
  const width = model.outputs[0]!.shape[1]!
  const out = new Float32Array(images.count * width)
  for (let from = 0; from < images.count; from += batch) {
    const rows = Uint32Array.from({ length: Math.min(batch, images.count - from) }, (_, i) => from + i)
    const values = tf.tidy(() => {
      const x = tf.tensor4d(images.prepared(rows), [rows.length, images.height, images.width, 3])
      return (model.predict(x, { batchSize: batch }) as tf.Tensor).dataSync() as Float32Array
    })
    out.set(values, from * width)
  }
  return out
}
