import type { Random } from '@faultline/inference'
import * as tf from '@tensorflow/tfjs'
import { shuffle } from '../shuffle.ts'
import type { Examples } from './examples.ts'
import { lossOf } from './metrics.ts'

export interface TrainingOptions {
  classes: number
  epochs: number
  batch: number
  learningRate: number
  random: Random
  /** Called after every epoch. */
  onEpoch?: (epoch: number, loss: number, validationLoss: number) => void
}

export interface TrainingResult {
  /** The epoch whose weights were kept, from 1. */
  epoch: number
  validationLoss: number
}

/**
 * Trains by mini-batches with Adam, the step falling to zero along half a cosine, and keeps the weights of the epoch
 * with the lowest loss on `validation`; without validation, those of the last. The order of examples comes from
 * `random`, so that a seed repeats a run (TF.js shuffles with Math.random).
 */
export async function trainNetwork(
  model: tf.LayersModel,
  train: Examples,
  validation: Examples | undefined,
  options: TrainingOptions,
): Promise<TrainingResult> {
  const optimizer = tf.train.adam(options.learningRate)
  model.compile({ optimizer, loss: 'categoricalCrossentropy' })
  const order = Uint32Array.from(train.labels.keys())
  const batches = Math.ceil(order.length / options.batch)
  let best: TrainingResult = { epoch: 0, validationLoss: Number.POSITIVE_INFINITY }
  let kept: tf.Tensor[] = []

  for (let epoch = 1; epoch <= options.epochs; epoch++) {
    shuffle(order, options.random)
    let loss = 0
    for (let batch = 0; batch < batches; batch++) {
      const progress = (epoch - 1 + batch / batches) / options.epochs
      setLearningRate(optimizer, (options.learningRate * (1 + Math.cos(Math.PI * progress))) / 2)
      const rows = order.subarray(batch * options.batch, (batch + 1) * options.batch)
      const [x, y] = tensorsOf(train, rows, options.classes)
      loss += ((await model.trainOnBatch(x, y)) as number) / batches
      tf.dispose([x, y])
    }
    const validationLoss = validation ? lossOf(predict(model, validation), validation.labels, options.classes) : loss
    if (!validation || validationLoss < best.validationLoss) {
      best = { epoch, validationLoss }
      tf.dispose(kept)
      kept = model.getWeights().map(weight => weight.clone())
    }
    options.onEpoch?.(epoch, loss, validationLoss)
    // Lets timers and signals in between epochs.
    await new Promise(resolve => setImmediate(resolve))
  }
  model.setWeights(kept)
  tf.dispose(kept)
  optimizer.dispose()
  return best
}

/** The network's output for every example, row after row. */
export function predict(model: tf.LayersModel, examples: Examples): Float32Array {
  return tf.tidy(() => {
    const inputs = tf.tensor2d(examples.inputs, [examples.labels.length, examples.width])
    return Float32Array.from((model.predict(inputs, { batchSize: 512 }) as tf.Tensor).dataSync())
  })
}

function tensorsOf(examples: Examples, rows: Uint32Array, classes: number): [tf.Tensor, tf.Tensor] {
  const x = new Float32Array(rows.length * examples.width)
  const y = new Float32Array(rows.length * classes)
  for (const [i, row] of rows.entries()) {
    x.set(examples.inputs.subarray(row * examples.width, (row + 1) * examples.width), i * examples.width)
    y[i * classes + examples.labels[row]!] = 1
  }
  return [tf.tensor2d(x, [rows.length, examples.width]), tf.tensor2d(y, [rows.length, classes])]
}

/** `learningRate` is protected in TF.js' types, and there is no schedule for `trainOnBatch` otherwise. */
function setLearningRate(optimizer: tf.Optimizer, rate: number): void {
  Object.assign(optimizer, { learningRate: rate })
}
