import * as tf from '@tensorflow/tfjs'

/** Shape of a dense classifier: hidden layers, and what keeps it from learning its examples by heart. */
export interface NetworkShape {
  name: string
  hidden: readonly number[]
  dropout: number
  l2: number
}

/**
 * A dense network with a softmax output. Dense because its input is spectra and features already, because such networks
 * train on every TF.js backend, and because a few kilobytes are enough on the device.
 */
export function denseClassifier(shape: NetworkShape, inputs: number, classes: number, seed: number): tf.LayersModel {
  const layers: tf.layers.Layer[] = []
  const regularizer = () => tf.regularizers.l2({ l2: shape.l2 })
  for (const [i, units] of shape.hidden.entries()) {
    const inputShape = i === 0 ? { inputShape: [inputs] } : {}
    layers.push(
      tf.layers.dense({
        ...inputShape,
        name: `${shape.name}-hidden-${i + 1}`,
        units,
        activation: 'relu',
        kernelInitializer: tf.initializers.heNormal({ seed: seed + i }),
        kernelRegularizer: regularizer(),
      }),
    )
    if (shape.dropout > 0)
      layers.push(
        tf.layers.dropout({ name: `${shape.name}-dropout-${i + 1}`, rate: shape.dropout, seed: seed + 100 + i }),
      )
  }
  layers.push(
    tf.layers.dense({
      name: `${shape.name}-output`,
      units: classes,
      activation: 'softmax',
      kernelInitializer: tf.initializers.glorotNormal({ seed: seed + 50 }),
    }),
  )
  return tf.sequential({ name: shape.name, layers })
}
