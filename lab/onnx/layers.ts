import { convolve, isConvolution } from './convolution.ts'
import type { Attribute, Graph } from './graph.ts'
import {
  type Layer,
  type Normalisation,
  normalisationOf,
  paddingOf,
  perAxis,
  requireChannelsLast,
  startsThenEnds,
  unsupported,
  weightsOf,
} from './layer.ts'
import { type Layout, Value } from './value.ts'

interface Step {
  graph: Graph
  layer: Layer
  config: ReturnType<Layer['getConfig']>
  inputs: readonly Value[]
  /** The first input, for layers that have one. */
  input: Value
  /** In TF.js' layout, without the batch. */
  outputShape: readonly number[]
}

/** Writes one layer and gives its output back. Throws `MODEL_EXPORT_UNSUPPORTED`. */
export function writeLayer(
  graph: Graph,
  layer: Layer,
  inputs: readonly Value[],
  outputShape: readonly number[],
): Value {
  const input = inputs[0]!
  if (isConvolution(layer)) return writeConvolution(graph, layer, input, outputShape)
  const name = layer.getClassName()
  const write = Object.hasOwn(writers, name) ? writers[name] : undefined
  if (!write) throw unsupported(layer, 'this kind of layer has no ONNX form here')
  return write({ graph, layer, config: layer.getConfig(), inputs, input, outputShape })
}

/** Writes a convolution, a batch normalisation after it where one is given, and its activation. */
export function writeConvolution(
  graph: Graph,
  layer: Layer,
  input: Value,
  outputShape: readonly number[],
  after?: Normalisation,
): Value {
  return activated(graph, layer, convolve(graph, layer, input, outputShape, after), layer.getConfig().activation)
}

const writers: Record<string, (step: Step) => Value> = {
  Dropout: ({ input }) => input,
  SpatialDropout1D: ({ input }) => input,
  GaussianDropout: ({ input }) => input,
  GaussianNoise: ({ input }) => input,
  AlphaDropout: ({ input }) => input,

  Dense({ graph, layer, config, input, outputShape }) {
    const [kernel, bias] = weightsOf(layer)
    let name = graph.add('MatMul', [input.as('last'), graph.floats(kernel!.shape, kernel!.values)])
    if (bias) name = graph.add('Add', [name, graph.floats(bias.shape, bias.values)])
    return activated(graph, layer, new Value(graph, outputShape, 'last', name), config.activation)
  },

  BatchNormalization({ graph, layer, input }) {
    const { scale, shift } = normalisationOf(layer, input.shape.length + 1)
    const { layout } = input
    // A constant per channel meets the channels from the end of the shape.
    const dims = [scale.length, ...(layout === 'first' ? input.shape.slice(1).map(() => 1) : [])]
    const scaled = graph.add('Mul', [input.as(layout), graph.floats(dims, scale)])
    return new Value(graph, input.shape, layout, graph.add('Add', [scaled, graph.floats(dims, shift)]))
  },

  Rescaling({ graph, config, input }) {
    const scaled = elementwise(graph, 'Mul', [input], [graph.scalar(Number(config.scale))])
    return elementwise(graph, 'Add', [scaled], [graph.scalar(Number(config.offset))])
  },

  Add: step => merged(step, 'Add'),
  Multiply: step => merged(step, 'Mul'),
  Maximum: step => merged(step, 'Max'),
  Minimum: step => merged(step, 'Min'),
  Average: step => elementwise(step.graph, 'Mul', [merged(step, 'Add')], [step.graph.scalar(1 / step.inputs.length)]),

  Concatenate({ graph, config, inputs, input, outputShape }) {
    const layout = commonLayout(inputs)
    const axis = input.axis(Number(config.axis), layout)
    const names = inputs.map(value => value.as(layout))
    return new Value(graph, outputShape, layout, graph.add('Concat', names, { axis: { i: axis } }))
  },

  ZeroPadding2D({ graph, layer, config, input, outputShape }) {
    requireChannelsLast(layer)
    const paddings = config.padding as unknown as [number, number][]
    const pads = graph.ints(startsThenEnds([[0, 0], [0, 0], ...paddings]))
    return new Value(graph, outputShape, 'first', graph.add('Pad', [input.as('first'), pads]))
  },

  MaxPooling1D: step => pooled(step, 'MaxPool', 1),
  MaxPooling2D: step => pooled(step, 'MaxPool', 2),
  AveragePooling1D: step => pooled(step, 'AveragePool', 1),
  AveragePooling2D: step => pooled(step, 'AveragePool', 2),
  GlobalMaxPooling1D: step => globallyPooled(step, 'GlobalMaxPool'),
  GlobalMaxPooling2D: step => globallyPooled(step, 'GlobalMaxPool'),
  GlobalAveragePooling1D: step => globallyPooled(step, 'GlobalAveragePool'),
  GlobalAveragePooling2D: step => globallyPooled(step, 'GlobalAveragePool'),

  Flatten: ({ graph, input, outputShape }) =>
    new Value(graph, outputShape, 'last', graph.add('Flatten', [input.as('last')], { axis: { i: 1 } })),
  Reshape: ({ graph, input, outputShape }) =>
    new Value(graph, outputShape, 'last', graph.add('Reshape', [input.as('last'), graph.ints([-1, ...outputShape])])),

  Activation: ({ graph, layer, config, input }) => activated(graph, layer, input, config.activation),
  ReLU: ({ graph, config, input }) =>
    config.maxValue == null
      ? elementwise(graph, 'Relu', [input])
      : elementwise(graph, 'Clip', [input], [graph.scalar(0), graph.scalar(Number(config.maxValue))]),
  LeakyReLU: ({ graph, config, input }) =>
    elementwise(graph, 'LeakyRelu', [input], [], { alpha: { f: Number(config.alpha) } }),
  ELU: ({ graph, config, input }) => elementwise(graph, 'Elu', [input], [], { alpha: { f: Number(config.alpha) } }),
  Softmax: ({ graph, config, input }) => softmax(graph, input, Number(config.axis)),
}

const activations: Record<string, (graph: Graph, input: Value) => Value> = {
  linear: (_, input) => input,
  relu: (graph, input) => elementwise(graph, 'Relu', [input]),
  relu6: (graph, input) => elementwise(graph, 'Clip', [input], [graph.scalar(0), graph.scalar(6)]),
  elu: (graph, input) => elementwise(graph, 'Elu', [input]),
  sigmoid: (graph, input) => elementwise(graph, 'Sigmoid', [input]),
  tanh: (graph, input) => elementwise(graph, 'Tanh', [input]),
  swish: (graph, input) => elementwise(graph, 'Mul', [input, elementwise(graph, 'Sigmoid', [input])]),
  softmax: (graph, input) => softmax(graph, input, -1),
}

function activated(graph: Graph, layer: Layer, input: Value, name: unknown): Value {
  const text = String(name ?? 'linear')
  const write = Object.hasOwn(activations, text) ? activations[text] : undefined
  if (!write) throw unsupported(layer, `the activation "${text}" has no ONNX form here`)
  return write(graph, input)
}

/** An operator that treats every value alike, so that it can run in whatever layout its inputs have. */
function elementwise(
  graph: Graph,
  operator: string,
  inputs: readonly Value[],
  constants: readonly string[] = [],
  attributes: Record<string, Attribute> = {},
): Value {
  const layout = commonLayout(inputs)
  const names = inputs.map(input => input.as(layout))
  return new Value(graph, inputs[0]!.shape, layout, graph.add(operator, [...names, ...constants], attributes))
}

function commonLayout(inputs: readonly Value[]): Layout {
  return inputs.some(input => input.layout === 'first') ? 'first' : 'last'
}

function merged({ graph, layer, inputs }: Step, operator: string): Value {
  const [first, ...others] = inputs as [Value, ...Value[]]
  if (others.some(other => String(other.shape) !== String(first.shape)))
    throw unsupported(layer, 'its inputs have different shapes')
  return others.reduce((sum, other) => elementwise(graph, operator, [sum, other]), first)
}

function softmax(graph: Graph, input: Value, axis: number): Value {
  return elementwise(graph, 'Softmax', [input], [], { axis: { i: input.axis(axis, input.layout) } })
}

function pooled({ graph, layer, config, input, outputShape }: Step, operator: string, axes: number): Value {
  requireChannelsLast(layer)
  const size = perAxis(config.poolSize, axes)
  const strides = perAxis(config.strides, axes)
  const padding = String(config.padding)
  const paddings = size.map((extent, axis) => paddingOf(padding, input.shape[axis]!, extent, strides[axis]!))
  const name = graph.add(operator, [input.as('first')], {
    kernel_shape: { ints: size },
    strides: { ints: strides },
    pads: { ints: startsThenEnds(paddings) },
  })
  return new Value(graph, outputShape, 'first', name)
}

function globallyPooled({ graph, layer, input, outputShape }: Step, operator: string): Value {
  requireChannelsLast(layer)
  const name = graph.add('Flatten', [graph.add(operator, [input.as('first')])], { axis: { i: 1 } })
  return new Value(graph, outputShape, 'last', name)
}
