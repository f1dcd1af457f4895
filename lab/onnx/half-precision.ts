import { Float16Array } from '@petamoriken/float16'
import * as tf from '@tensorflow/tfjs'

/** Rounds every weight to the nearest half-precision number, so that storing it in two bytes loses nothing more. */
export function roundToHalf(model: tf.LayersModel): void {
  const rounded = model
    .getWeights()
    .map(weight => tf.tensor(Float32Array.from(halves(weight.dataSync())), weight.shape))
  model.setWeights(rounded)
  tf.dispose(rounded)
}

/** The nearest half-precision numbers, in their two bytes each. */
export function halves(values: ArrayLike<number>): Float16Array {
  return Float16Array.from(values)
}

/** A model's artifacts with its weights in half precision, as TF.js' own converter writes them. */
export function halfArtifacts(artifacts: tf.io.ModelArtifacts): tf.io.ModelArtifacts {
  const { weightData, weightSpecs = [] } = artifacts
  const bytes = new Uint8Array(tf.io.CompositeArrayBuffer.join(weightData))
  return {
    ...artifacts,
    weightSpecs: weightSpecs.map(spec => ({
      ...spec,
      quantization: { dtype: 'float16', original_dtype: 'float32' },
    })) as tf.io.WeightsManifestEntry[],
    weightData: Uint8Array.from(new Uint8Array(halves(new Float32Array(bytes.buffer)).buffer)).buffer,
  }
}
