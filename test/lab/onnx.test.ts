import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { FaultlineError } from '@faultline/protocol'
import * as tf from '@tensorflow/tfjs'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { exportOnnx } from '../../lab/onnx/export.ts'
import { decodeModel } from '../../lab/onnx/schema.ts'

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

/** Convolution, batch normalisation and ReLU, as a function of the tensor before them. */
const block = (filters: number, options: { kernelSize?: number; strides?: number; relu?: boolean } = {}) => {
  const { kernelSize = 3, strides = 1, relu = true } = options
  return (input: tf.SymbolicTensor) => {
    const convolution = tf.layers.conv2d({ filters, kernelSize, strides, padding: 'same', kernelInitializer: init() })
    const normal = tf.layers.batchNormalization().apply(convolution.apply(input)) as tf.SymbolicTensor
    return relu ? (tf.layers.reLU().apply(normal) as tf.SymbolicTensor) : normal
  }
}
const apply = (layer: tf.layers.Layer, ...inputs: tf.SymbolicTensor[]) =>
  layer.apply(inputs.length === 1 ? inputs[0]! : inputs) as tf.SymbolicTensor
const dense = (units: number, input: tf.SymbolicTensor) =>
  apply(tf.layers.dense({ units, activation: 'softmax', kernelInitializer: init() }), input)

/** Two residual blocks, the second at half the size with a projection, as in ResNet-8. */
function smallResNet(): tf.LayersModel {
  const input = tf.input({ shape: [16, 16, 3] })
  const stem = block(8)(input)
  const plain = block(8, { relu: false })(block(8)(stem))
  const first = apply(tf.layers.reLU(), apply(tf.layers.add(), stem, plain))
  const halved = block(12, { relu: false })(block(12, { strides: 2 })(first))
  const projection = apply(
    tf.layers.conv2d({ filters: 12, kernelSize: 1, strides: 2, padding: 'same', kernelInitializer: init() }),
    first,
  )
  const second = apply(tf.layers.reLU(), apply(tf.layers.add(), halved, projection))
  return tf.model({ inputs: input, outputs: dense(10, apply(tf.layers.globalAveragePooling2d({}), second)) })
}

/** Depthwise and separable convolutions, padding of its own, and a join of branches by their channels. */
function smallMobileNet(): tf.LayersModel {
  const input = tf.input({ shape: [15, 13, 2] })
  const padded = apply(
    tf.layers.zeroPadding2d({
      padding: [
        [1, 2],
        [0, 1],
      ],
    }),
    input,
  )
  const deep = apply(
    tf.layers.depthwiseConv2d({ kernelSize: 3, depthMultiplier: 3, strides: 2, depthwiseInitializer: init() }),
    padded,
  )
  const normal = apply(tf.layers.activation({ activation: 'relu6' }), apply(tf.layers.batchNormalization(), deep))
  const separable = apply(
    tf.layers.separableConv2d({
      filters: 5,
      kernelSize: [3, 2],
      padding: 'same',
      depthMultiplier: 2,
      activation: 'elu',
      depthwiseInitializer: init(),
      pointwiseInitializer: init(),
    }),
    normal,
  )
  const pooled = apply(tf.layers.averagePooling2d({ poolSize: 3, strides: 1, padding: 'same' }), normal)
  const joined = apply(tf.layers.concatenate({ axis: -1 }), separable, pooled)
  const leaky = apply(tf.layers.leakyReLU({ alpha: 0.2 }), apply(tf.layers.batchNormalization(), joined))
  const halved = apply(tf.layers.maxPooling2d({ poolSize: 2, padding: 'same' }), leaky)
  const both = [apply(tf.layers.globalMaxPooling2d({}), halved), apply(tf.layers.flatten(), halved)]
  return tf.model({ inputs: input, outputs: dense(4, apply(tf.layers.concatenate(), ...both)) })
}

/** Scaled pixels, a model within the model, a layer used twice and a gate. */
function nested(): tf.LayersModel {
  const twice = tf.layers.conv2d({ filters: 4, kernelSize: 3, padding: 'same', kernelInitializer: init() })
  const inner = tf.sequential({
    layers: [
      tf.layers.conv2d({ inputShape: [8, 8, 4], filters: 4, kernelSize: 3, padding: 'same', activation: 'swish' }),
      tf.layers.batchNormalization(),
    ],
  })
  const input = tf.input({ shape: [8, 8, 4] })
  const scaled = apply(tf.layers.rescaling({ scale: 0.5, offset: -0.1 }), input)
  const once = apply(tf.layers.batchNormalization(), apply(twice, scaled))
  const again = apply(tf.layers.reLU({ maxValue: 1.5 }), apply(twice, once))
  const gate = apply(tf.layers.softmax({ axis: -1 }), apply(inner, again))
  const joined = [apply(tf.layers.multiply(), gate, again), apply(tf.layers.average(), gate, scaled)]
  const largest = apply(tf.layers.maximum(), ...joined)
  return tf.model({ inputs: input, outputs: dense(3, apply(tf.layers.flatten(), largest)) })
}

const models: Record<string, () => tf.LayersModel> = {
  'a residual network': smallResNet,
  'a network of depthwise and separable convolutions': smallMobileNet,
  'a network with a model inside and a layer used twice': nested,
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

test('channels first, an axis besides the last and several outputs are refused', () => {
  const conv = tf.layers.conv2d({ inputShape: [2, 8, 8], filters: 2, kernelSize: 3, dataFormat: 'channelsFirst' })
  assert.throws(() => exportOnnx(tf.sequential({ layers: [conv] })), refused('channelsFirst'))
  const normal = tf.layers.batchNormalization({ inputShape: [4, 3], axis: 1 })
  assert.throws(() => exportOnnx(tf.sequential({ layers: [normal] })), refused('last axis'))
  const dilated = tf.layers.depthwiseConv2d({ inputShape: [8, 8, 2], kernelSize: 3, dilationRate: 2 })
  assert.throws(() => exportOnnx(tf.sequential({ layers: [dilated] })), refused('dilated'))
  const input = tf.input({ shape: [3] })
  const outputs = [dense(2, input), dense(2, input)]
  assert.throws(() => exportOnnx(tf.model({ inputs: input, outputs })), refused('several outputs'))
})

test('a layer that joins tensors of different shapes is refused', () => {
  const input = tf.input({ shape: [4, 4, 3] })
  const narrow = apply(tf.layers.conv2d({ filters: 1, kernelSize: 1 }), input)
  const sum = apply(tf.layers.add(), input, narrow)
  assert.throws(() => exportOnnx(tf.model({ inputs: input, outputs: sum })), refused('different shapes'))
})

test('normalisation becomes part of its convolution, and a network is transposed only where it begins', () => {
  const operators = operatorsOf(exportOnnx(shaken(smallResNet())))
  assert.deepEqual(operators, {
    Transpose: 1,
    Conv: 6,
    Relu: 5,
    Add: 3,
    GlobalAveragePool: 1,
    Flatten: 1,
    MatMul: 1,
    Softmax: 1,
    Identity: 1,
  })
})

/** How often each operator occurs: a node's name is its operator and a number. */
function operatorsOf(onnx: Uint8Array): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { opType } of decodeModel(onnx).graph?.node ?? []) counts[opType] = (counts[opType] ?? 0) + 1
  return counts
}
