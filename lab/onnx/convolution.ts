import type { Graph } from './graph.ts'
import {
  type Layer,
  type Normalisation,
  paddingOf,
  perAxis,
  requireChannelsLast,
  startsThenEnds,
  unsupported,
  weightsOf,
} from './layer.ts'
import { Value } from './value.ts'

/** One ONNX `Conv`. Output channels come first in the kernel, so that scaling one touches consecutive values. */
interface Convolution {
  /** (outputs, inputs per group, …size). */
  shape: readonly number[]
  kernel: Float32Array
  bias?: Float32Array
  groups: number
  strides: readonly number[]
  dilations: readonly number[]
}

const readers: Record<string, (layer: Layer) => Convolution[]> = {
  Conv1D: layer => plain(layer, 1),
  Conv2D: layer => plain(layer, 2),

  DepthwiseConv2D(layer) {
    const config = layer.getConfig()
    // TF.js' layer runs as if there were no dilation, whatever it was given.
    if (perAxis(config.dilationRate ?? 1, 2).some(rate => rate !== 1)) throw unsupported(layer, 'it is dilated')
    const [kernel, bias] = weightsOf(layer)
    return [{ ...depthwise(kernel!), bias: bias?.values, strides: perAxis(config.strides, 2), dilations: [1, 1] }]
  },

  SeparableConv2D(layer) {
    const config = layer.getConfig()
    const [kernel, pointwise, bias] = weightsOf(layer)
    const [strides, dilations] = [perAxis(config.strides, 2), perAxis(config.dilationRate ?? 1, 2)]
    const ones = { strides: [1, 1], dilations: [1, 1], groups: 1 }
    return [
      { ...depthwise(kernel!), strides, dilations },
      { ...outputsFirst(pointwise!), ...ones, bias: bias?.values },
    ]
  },
}

export function isConvolution(layer: Layer): boolean {
  return Object.hasOwn(readers, layer.getClassName())
}

/** True for a convolution whose output nothing changes before the next layer. */
export function foldableConvolution(layer: Layer): boolean {
  return isConvolution(layer) && (layer.getConfig().activation ?? 'linear') === 'linear'
}

/** Writes a convolution without its activation, and with a batch normalisation after it where one is given. */
export function convolve(
  graph: Graph,
  layer: Layer,
  input: Value,
  outputShape: readonly number[],
  after?: Normalisation,
): Value {
  requireChannelsLast(layer)
  const convolutions = readers[layer.getClassName()]!(layer)
  if (after) convolutions.push(normalised(convolutions.pop()!, after))
  const padding = String(layer.getConfig().padding)
  let name = input.as('first')
  for (const { shape, kernel, bias, groups, strides, dilations } of convolutions) {
    const size = shape.slice(2)
    const constants = [graph.floats(shape, kernel)]
    if (bias) constants.push(graph.floats([bias.length], bias))
    // The second of two is pointwise: its reach is one, and no padding comes of it.
    const paddings = size.map((extent, axis) =>
      extent === 1
        ? ([0, 0] as const)
        : paddingOf(padding, input.shape[axis]!, (extent - 1) * dilations[axis]! + 1, strides[axis]!),
    )
    name = graph.add('Conv', [name, ...constants], {
      kernel_shape: { ints: size },
      strides: { ints: strides },
      dilations: { ints: dilations },
      group: { i: groups },
      pads: { ints: startsThenEnds(paddings) },
    })
  }
  return new Value(graph, outputShape, 'first', name)
}

function plain(layer: Layer, axes: number): Convolution[] {
  const config = layer.getConfig()
  const [kernel, bias] = weightsOf(layer)
  const [strides, dilations] = [perAxis(config.strides, axes), perAxis(config.dilationRate ?? 1, axes)]
  return [{ ...outputsFirst(kernel!), bias: bias?.values, groups: 1, strides, dilations }]
}

function normalised(convolution: Convolution, { scale, shift }: Normalisation): Convolution {
  const perOutput = convolution.kernel.length / scale.length
  const { bias } = convolution
  return {
    ...convolution,
    kernel: convolution.kernel.map((value, i) => value * scale[Math.floor(i / perOutput)]!),
    bias: shift.map((value, i) => value + (bias?.[i] ?? 0) * scale[i]!),
  }
}

interface Kernel {
  shape: readonly number[]
  values: Float32Array
}

/** (…size, inputs, outputs) to (outputs, inputs, …size). */
function outputsFirst({ shape, values }: Kernel): Pick<Convolution, 'shape' | 'kernel'> {
  const [inputs, outputs] = shape.slice(-2) as [number, number]
  const size = shape.slice(0, -2)
  const cells = size.reduce((product, extent) => product * extent, 1)
  const kernel = new Float32Array(values.length)
  for (let cell = 0; cell < cells; cell++)
    for (let i = 0; i < inputs; i++)
      for (let o = 0; o < outputs; o++)
        kernel[(o * inputs + i) * cells + cell] = values[(cell * inputs + i) * outputs + o]!
  return { shape: [outputs, inputs, ...size], kernel }
}

/** (height, width, inputs, multiplier) to (inputs x multiplier, 1, height, width), a group for each input. */
function depthwise({ shape, values }: Kernel): Pick<Convolution, 'shape' | 'kernel' | 'groups'> {
  const [height, width, inputs, multiplier] = shape as [number, number, number, number]
  const together = outputsFirst({ shape: [height, width, 1, inputs * multiplier], values })
  return { ...together, groups: inputs }
}
