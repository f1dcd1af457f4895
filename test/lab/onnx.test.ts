import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { FaultlineError } from '@faultline/protocol'
import * as tf from '@tensorflow/tfjs'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { exportOnnx } from '../../lab/onnx/export.ts'

before(async () => {
  await tf.setBackend('cpu')
})

let seed = 1
const init = () => tf.initializers.glorotUniform({ seed: seed++ })
/** Moves every weight off its starting value, so that a zero bias or a unit variance hides no mistake. */
const shaken = (model: tf.LayersModel) => {
  for (const layer of model.layers)
    layer.setWeights(layer.getWeights().map(w => tf.add(w, tf.randomUniform(w.shape, 0.05, 0.3, 'float32', seed++))))
  return model
}

const models: Record<string, () => tf.LayersModel> = {
  'a dense classifier with dropout': () =>
    tf.sequential({
      layers: [
        tf.layers.dense({ inputShape: [24], units: 16, activation: 'relu', kernelInitializer: init() }),
        tf.layers.dropout({ rate: 0.3 }),
        tf.layers.dense({ units: 8, activation: 'tanh', useBias: false, kernelInitializer: init() }),
        tf.layers.dense({ units: 4, activation: 'softmax', kernelInitializer: init() }),
      ],
    }),
  'a convolutional classifier': () =>
    tf.sequential({
      layers: [
        tf.layers.reshape({ inputShape: [64], targetShape: [32, 2] }),
        tf.layers.conv1d({ filters: 4, kernelSize: 5, strides: 2, padding: 'same', kernelInitializer: init() }),
        tf.layers.batchNormalization(),
        tf.layers.activation({ activation: 'relu' }),
        tf.layers.maxPooling1d({ poolSize: 3, strides: 2, padding: 'same' }),
        tf.layers.conv1d({
          filters: 3,
          kernelSize: 3,
          padding: 'valid',
          activation: 'sigmoid',
          kernelInitializer: init(),
        }),
        tf.layers.averagePooling1d({ poolSize: 2 }),
        tf.layers.flatten(),
        tf.layers.dense({ units: 4, kernelInitializer: init() }),
        tf.layers.softmax(),
      ],
    }),
  'dilated and globally pooled convolutions': () =>
    tf.sequential({
      layers: [
        tf.layers.conv1d({
          inputShape: [40, 2],
          filters: 4,
          kernelSize: 3,
          dilationRate: 2,
          padding: 'same',
          kernelInitializer: init(),
        }),
        tf.layers.batchNormalization({ scale: false, center: false }),
        tf.layers.reLU(),
        tf.layers.conv1d({ filters: 4, kernelSize: 4, kernelInitializer: init() }),
        tf.layers.globalAveragePooling1d(),
        tf.layers.dense({ units: 4, activation: 'softmax', kernelInitializer: init() }),
      ],
    }),
  'averages padded at the edge and a global maximum': () =>
    tf.sequential({
      layers: [
        tf.layers.averagePooling1d({ inputShape: [33, 2], poolSize: 4, strides: 2, padding: 'same' }),
        tf.layers.globalMaxPooling1d({}),
        tf.layers.dense({ units: 3, kernelInitializer: init() }),
      ],
    }),
}

for (const [name, build] of Object.entries(models))
  test(`${name} gives the same answers as ONNX on 1,000 random inputs`, async () => {
    const model = shaken(build())
    const inputShape = (model.inputs[0]!.shape as number[]).slice(1)
    const size = inputShape.reduce((a, b) => a * b, 1)
    const inputs = tf.randomNormal([1000, size], 0, 1, 'float32', 7).dataSync() as Float32Array
    const expected = (model.predict(tf.tensor(inputs, [1000, ...inputShape])) as tf.Tensor).dataSync()
    const session = await InferenceSession.create(exportOnnx(model))
    for (const batch of [1000, 1]) {
      const feed = new Tensor('float32', inputs.subarray(0, batch * size), [batch, ...inputShape])
      const output = (await session.run({ input: feed })).output!
      assert.equal(output.dims[0], batch)
      const actual = output.data as Float32Array
      let worst = 0
      for (const [i, value] of actual.entries()) worst = Math.max(worst, Math.abs(value - expected[i]!))
      assert.ok(worst <= 1e-4, `differs by ${worst}`)
    }
  })

const refused = (layer: string) => (error: unknown) =>
  error instanceof FaultlineError && error.code === 'MODEL_EXPORT_UNSUPPORTED' && error.message.includes(layer)

test('a layer without an ONNX form is refused by name', () => {
  const model = tf.sequential({ layers: [tf.layers.lstm({ inputShape: [8, 2], units: 3 })] })
  assert.throws(() => exportOnnx(model), refused('LSTM'))
})

test('an activation without an ONNX form is refused', () => {
  const model = tf.sequential({ layers: [tf.layers.dense({ inputShape: [3], units: 2, activation: 'selu' })] })
  assert.throws(() => exportOnnx(model), refused('selu'))
})

test('a model with a branch is refused', () => {
  const input = tf.input({ shape: [3] })
  const a = tf.layers.dense({ units: 3 }).apply(input) as tf.SymbolicTensor
  const b = tf.layers.dense({ units: 3 }).apply(input) as tf.SymbolicTensor
  const sum = tf.layers.add().apply([a, b]) as tf.SymbolicTensor
  assert.throws(() => exportOnnx(tf.model({ inputs: input, outputs: sum })), refused('chain'))
})
