import * as tf from '@tensorflow/tfjs'

/** Batch normalisation's epsilon, in training and where it is folded away. */
export const EPSILON = 1e-5

/** The part of tfjs-node's backend that runs a TensorFlow kernel by its name. */
interface NativeBackend {
  binding: Record<'TF_ATTR_TYPE' | 'TF_ATTR_FLOAT' | 'TF_ATTR_STRING' | 'TF_ATTR_BOOL' | 'TF_FLOAT', number>
  executeSingleOutput(name: string, attributes: object[], inputs: tf.Tensor[]): tf.Tensor
  executeMultipleOutputs(name: string, attributes: object[], inputs: tf.Tensor[], outputs: number): tf.Tensor[]
}

/** Told of a batch's statistics, one value for each channel; the tensors live until it returns. */
export type StatisticsObserver = (mean: tf.Tensor1D, variance: tf.Tensor1D) => void

/**
 * Batch normalisation without a scale, then ReLU, in training: `relu((x - mean) / sqrt(variance + EPSILON) + offset)` over
 * batch, height and width. TF.js composes both gradients of a dozen operators, each a pass over all activations; that
 * was half the time of a step. TensorFlow has a kernel for each, which tfjs-node can run.
 * @param x (batch, height, width, channels)
 * @param offset (channels)
 */
export function normaliseAndRectify(x: tf.Tensor4D, offset: tf.Tensor1D, observe: StatisticsObserver): tf.Tensor4D {
  const backend = tf.backend() as unknown as NativeBackend
  const { binding } = backend
  const type = { name: 'T', type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT }
  const normalisation = [
    type,
    { name: 'epsilon', type: binding.TF_ATTR_FLOAT, value: EPSILON },
    { name: 'data_format', type: binding.TF_ATTR_STRING, value: 'NHWC' },
    { name: 'is_training', type: binding.TF_ATTR_BOOL, value: true },
  ]
  const apply = tf.customGrad((...given) => {
    const [input, shift, save] = given as unknown as [tf.Tensor4D, tf.Tensor1D, tf.GradSaveFunc]
    const scale = tf.ones([shift.size])
    const none = tf.tensor1d([])
    const [normal, mean, variance, ...reserved] = backend.executeMultipleOutputs(
      'FusedBatchNormV3',
      normalisation,
      [input, scale, shift, none, none],
      6,
    )
    observe(mean as tf.Tensor1D, variance as tf.Tensor1D)
    const value = backend.executeSingleOutput('Relu', [type], [normal!]) as tf.Tensor4D
    save([input, scale, value, ...reserved])
    const gradFunc = (gradient: tf.Tensor, saved: tf.Tensor[]) => {
      const [x, scale, value, ...reserved] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, ...tf.Tensor[]]
      const through = backend.executeSingleOutput('ReluGrad', [type], [gradient, value])
      const [toInput, , toOffset] = backend.executeMultipleOutputs(
        'FusedBatchNormGradV3',
        normalisation,
        [through, x, scale, ...reserved],
        5,
      )
      return [toInput!, toOffset!]
    }
    return { value, gradFunc }
  })
  return apply(x, offset) as tf.Tensor4D
}
