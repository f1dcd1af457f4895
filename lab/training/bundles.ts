import { type Bundle, type BundleDescription, writeBundle } from '@faultline/inference'
import * as tf from '@tensorflow/tfjs'
import type { LabelledWindow } from '../data/windows.ts'
import { exportOnnx } from '../onnx/export.ts'
import type { TrainedModel } from './bearing-models.ts'
import { examplesOf } from './examples.ts'
import type { PairCalibration } from './pair-calibration.ts'
import { predict } from './trainer.ts'

/** Engines round differently; more than this is a mistake, not rounding. */
const GOLDEN_TOLERANCE = 1e-4
const GOLDEN_ROWS_PER_CLASS = 2

type Provenance = BundleDescription['training']

/**
 * Writes a trained model as a bundle with TF.js and ONNX networks and golden vectors from `windows`.
 * @param own What is known of when its answers will do; nothing for a server's model, whose answers always stand.
 */
export async function writeModelBundle(
  directory: string,
  model: TrainedModel,
  windows: readonly LabelledWindow[],
  own: Partial<PairCalibration>,
  training: Provenance,
): Promise<Bundle> {
  const { plan, network, input, classes, temperature } = model
  const description: Omit<BundleDescription, 'formats'> = {
    format: 1,
    name: plan.network.name,
    version: '1.0.0',
    task: 'bearing-fault',
    role: plan.role,
    classes: [...classes],
    normal: 'normal',
    input,
    output: 'probabilities',
    calibration: { temperature, ...own },
    golden: goldenOf(model, windows),
    training,
  }
  return writeBundle(directory, description, { onnx: exportOnnx(network), tfjs: await artifactsOf(network) })
}

/** The first windows of each class; inputs are rounded so that the description holds exactly what was run. */
function goldenOf(model: TrainedModel, windows: readonly LabelledWindow[]): BundleDescription['golden'] {
  const chosen = model.classes.flatMap(name =>
    windows.filter(labelled => labelled.class === name).slice(0, GOLDEN_ROWS_PER_CLASS),
  )
  const examples = examplesOf(chosen, model.input, model.classes)
  const inputs = Array.from(examples.inputs, value => Number(value.toFixed(4)))
  const outputs = predict(model.network, { ...examples, inputs: Float32Array.from(inputs) })
  return {
    tolerance: GOLDEN_TOLERANCE,
    inputs: rowsOf(inputs, examples.width),
    outputs: rowsOf(
      Array.from(outputs, value => Number(value.toFixed(7))),
      model.classes.length,
    ),
  }
}

function rowsOf(values: number[], width: number): number[][] {
  return Array.from({ length: values.length / width }, (_, row) => values.slice(row * width, (row + 1) * width))
}

/** What TF.js would write to disk. */
export async function artifactsOf(network: tf.LayersModel): Promise<tf.io.ModelArtifacts> {
  let artifacts: tf.io.ModelArtifacts = {}
  await network.save(
    tf.io.withSaveHandler(async saved => {
      artifacts = saved
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } }
    }),
    { includeOptimizer: false },
  )
  return artifacts
}
