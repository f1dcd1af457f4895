import { FaultlineError } from '@faultline/protocol'
import type { layers } from '@tensorflow/tfjs'
import type { Graph } from './graph.ts'

type Layer = layers.Layer

/** Appends one TF.js layer to the graph. Throws `MODEL_EXPORT_UNSUPPORTED`. */
export function appendLayer(graph: Graph, layer: Layer): void {
  const write = writers[layer.getClassName()]
  if (!write) throw unsupported(layer, 'this kind of layer has no ONNX form here')
  write(graph, layer)
}

/** TF.js layers work on the last axis (batch, length, channels); ONNX convolution and pooling want channels second. */
const writers: Record<string, (graph: Graph, layer: Layer) => void> = {
  InputLayer: () => {},
  Dropout: () => {},
  GaussianNoise: () => {},

  Dense(graph, layer) {
    const [kernel, bias] = weightsOf(layer)
    graph.append('MatMul', [graph.floats(kernel!.shape, kernel!.values)])
    if (bias) graph.append('Add', [graph.floats(bias.shape, bias.values)])
    activation(graph, layer, layer.getConfig().activation)
  },

  Conv1D(graph, layer) {
    const config = layer.getConfig()
    if (config.dataFormat === 'channelsFirst') throw unsupported(layer, 'channelsFirst is not supported')
    const [kernel, bias] = weightsOf(layer)
    const [size, inputs, outputs] = kernel!.shape as [number, number, number]
    const stride = single(config.strides)
    const dilation = single(config.dilationRate ?? 1)
    const constants = [graph.floats([outputs, inputs, size], channelsFirst(kernel!.values, size, inputs, outputs))]
    if (bias) constants.push(graph.floats(bias.shape, bias.values))
    graph.append('Transpose', [], { perm: { ints: [0, 2, 1] } })
    graph.append('Conv', constants, {
      kernel_shape: { ints: [size] },
      strides: { ints: [stride] },
      dilations: { ints: [dilation] },
      pads: { ints: paddingOf(layer, String(config.padding), (size - 1) * dilation + 1, stride) },
    })
    graph.append('Transpose', [], { perm: { ints: [0, 2, 1] } })
    activation(graph, layer, config.activation)
  },

  BatchNormalization(graph, layer) {
    const config = layer.getConfig()
    const rank = Array.isArray(layer.input) ? 0 : layer.input.shape.length
    if (config.axis !== -1 && config.axis !== rank - 1) throw unsupported(layer, 'only the last axis can be normalised')
    const weights = weightsOf(layer).map(weight => weight.values)
    const gamma = config.scale ? weights.shift()! : undefined
    const beta = config.center ? weights.shift()! : undefined
    const [mean, variance] = weights as [Float32Array, Float32Array]
    const scale = variance.map((value, i) => (gamma?.[i] ?? 1) / Math.sqrt(value + Number(config.epsilon)))
    const shift = mean.map((value, i) => (beta?.[i] ?? 0) - value * scale[i]!)
    graph.append('Mul', [graph.floats([scale.length], scale)])
    graph.append('Add', [graph.floats([shift.length], shift)])
  },

  MaxPooling1D: (graph, layer) => pool(graph, layer, 'MaxPool'),
  AveragePooling1D: (graph, layer) => pool(graph, layer, 'AveragePool'),
  GlobalAveragePooling1D: graph => graph.append('ReduceMean', [], { axes: { ints: [1] }, keepdims: { i: 0 } }),
  GlobalMaxPooling1D: graph => graph.append('ReduceMax', [], { axes: { ints: [1] }, keepdims: { i: 0 } }),
  Flatten: graph => graph.append('Flatten', [], { axis: { i: 1 } }),
  Reshape: (graph, layer) => graph.append('Reshape', [graph.ints([-1, ...shapeOf(layer, layer.output)])]),
  Activation: (graph, layer) => activation(graph, layer, layer.getConfig().activation),
  ReLU: (graph, layer) => {
    if (layer.getConfig().maxValue != null) throw unsupported(layer, 'a largest value is not supported')
    activation(graph, layer, 'relu')
  },
  Softmax: (graph, layer) => activation(graph, layer, 'softmax'),
}

const activations: Record<string, string> = { relu: 'Relu', sigmoid: 'Sigmoid', tanh: 'Tanh', softmax: 'Softmax' }

function activation(graph: Graph, layer: Layer, name: unknown): void {
  if (name == null || name === 'linear') return
  const operator = activations[String(name)]
  if (!operator) throw unsupported(layer, `the activation "${String(name)}" has no ONNX form here`)
  graph.append(operator, [], operator === 'Softmax' ? { axis: { i: -1 } } : {})
}

function pool(graph: Graph, layer: Layer, operator: 'MaxPool' | 'AveragePool'): void {
  const config = layer.getConfig()
  const size = single(config.poolSize)
  const stride = single(config.strides)
  graph.append('Transpose', [], { perm: { ints: [0, 2, 1] } })
  graph.append(operator, [], {
    kernel_shape: { ints: [size] },
    strides: { ints: [stride] },
    pads: { ints: paddingOf(layer, String(config.padding), size, stride) },
  })
  graph.append('Transpose', [], { perm: { ints: [0, 2, 1] } })
}

/** TensorFlow's "same" puts the odd sample of padding at the end. */
function paddingOf(layer: Layer, padding: string, reach: number, stride: number): [number, number] {
  if (padding === 'valid') return [0, 0]
  const length = shapeOf(layer, layer.input)[0]!
  const total = Math.max((Math.ceil(length / stride) - 1) * stride + reach - length, 0)
  return [Math.floor(total / 2), Math.ceil(total / 2)]
}

/** (size, in, out) to ONNX's (out, in, size). */
function channelsFirst(kernel: Float32Array, size: number, inputs: number, outputs: number): Float32Array {
  const turned = new Float32Array(kernel.length)
  for (let k = 0; k < size; k++)
    for (let i = 0; i < inputs; i++)
      for (let o = 0; o < outputs; o++) turned[(o * inputs + i) * size + k] = kernel[(k * inputs + i) * outputs + o]!
  return turned
}

/** The shape of a layer's single input or output without the batch; every other dimension must be known. */
export function shapeOf(layer: Layer, tensor: Layer['input']): number[] {
  if (Array.isArray(tensor)) throw unsupported(layer, 'it has several inputs or outputs')
  const shape = tensor.shape.slice(1)
  if (shape.some(size => size === null)) throw unsupported(layer, 'a dimension besides the batch is open')
  return shape as number[]
}

function weightsOf(layer: Layer): { shape: number[]; values: Float32Array }[] {
  return layer.getWeights().map(weight => ({ shape: weight.shape, values: Float32Array.from(weight.dataSync()) }))
}

function single(value: unknown): number {
  return Number(Array.isArray(value) ? value[0] : value)
}

export function unsupported(layer: Layer, why: string): FaultlineError {
  return new FaultlineError('MODEL_EXPORT_UNSUPPORTED', `layer "${layer.name}" (${layer.getClassName()}): ${why}`)
}
