import { type InputDescription, Random } from '@faultline/inference'
import type * as tf from '@tensorflow/tfjs'
import type { LabelledWindow } from '../data/windows.ts'
import { fitTemperature, temper } from './calibration.ts'
import { type Examples, examplesOf, standardisedInput } from './examples.ts'
import { denseClassifier, type NetworkShape } from './networks.ts'
import { predict, trainNetwork } from './trainer.ts'

/** 2,048 samples at 12 kHz are 171 ms: 3 to 6 turns of the shaft between 20 and 35 Hz. */
export const bearingSignal = { samples: 2048, rateHz: 12_000 }

/** Training windows of each fault class, from recordings and from the simulator each. */
export const WINDOWS_PER_CLASS = 800

/**
 * What the local model looks at: the shape of the signal, the shape of its spectrum, and where the envelope's energy lies in orders.
 * Levels (RMS, peak) are left out: on the training rig they would be enough, and on the next machine they would mean
 * nothing. So would the spectrum's shape, did training not hear half of the windows through another structure.
 */
const localFeatures = [
  'crestFactor',
  'kurtosis',
  'skewness',
  ...Array.from({ length: 16 }, (_, cell) => `shape${cell + 1}`),
  ...['bpfo', 'bpfi', 'bsf', 'ftf', 'shaft'].flatMap(order => [1, 2, 3].map(harmonic => `${order}${harmonic}`)),
]

/** How one of the two bearing models is made. */
export interface ModelPlan {
  role: 'local' | 'server'
  network: NetworkShape
  epochs: number
  learningRate: number
  input: (train: readonly LabelledWindow[]) => InputDescription
}

export const localPlan: ModelPlan = {
  role: 'local',
  network: { name: 'bearing-local', hidden: [64, 32], dropout: 0, l2: 1e-4 },
  epochs: 20,
  learningRate: 4e-3,
  input: train => standardisedInput(train, { ...bearingSignal, features: localFeatures }),
}

export const serverPlan: ModelPlan = {
  role: 'server',
  network: { name: 'bearing-server', hidden: [128, 64], dropout: 0.3, l2: 1e-4 },
  epochs: 20,
  learningRate: 3e-3,
  input: () => ({ ...bearingSignal, kind: 'signal', representation: 'bearing-signature', shape: [146] }),
}

/** A trained network with everything needed to ask it. */
export interface TrainedModel {
  plan: ModelPlan
  network: tf.LayersModel
  input: InputDescription
  classes: readonly string[]
  temperature: number
  /** The epoch whose weights were kept. */
  epoch: number
}

/**
 * Trains one model. With `validation`, its best epoch is kept and its temperature fitted there; without, the last epoch
 * is kept and the temperature is 1.
 */
export async function trainModel(
  plan: ModelPlan,
  classes: readonly string[],
  train: readonly LabelledWindow[],
  validation: readonly LabelledWindow[],
  seed: number,
  onEpoch?: (epoch: number, loss: number, validationLoss: number) => void,
): Promise<TrainedModel> {
  const input = plan.input(train)
  const examples = examplesOf(train, input, classes)
  const held = validation.length > 0 ? examplesOf(validation, input, classes) : undefined
  const network = denseClassifier(plan.network, examples.width, classes.length, seed)
  const { epoch } = await trainNetwork(network, examples, held, {
    classes: classes.length,
    epochs: plan.epochs,
    batch: 256,
    learningRate: plan.learningRate,
    random: new Random(seed),
    onEpoch,
  })
  const temperature = held ? fitTemperature(predict(network, held), held.labels, classes.length) : 1
  return { plan, network, input, classes, temperature, epoch }
}

/** Calibrated class probabilities of every window, row after row. */
export function answersOf(model: TrainedModel, windows: readonly LabelledWindow[]): Float32Array {
  const examples: Examples = examplesOf(windows, model.input, model.classes)
  return temper(predict(model.network, examples), model.classes.length, model.temperature)
}
