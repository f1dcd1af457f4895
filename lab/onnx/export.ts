import type { LayersModel, SymbolicTensor } from '@tensorflow/tfjs'
import { foldableConvolution } from './convolution.ts'
import { Graph } from './graph.ts'
import { type Layer, normalisationOf, shapeOf, unsupported } from './layer.ts'
import { writeConvolution, writeLayer } from './layers.ts'
import { extentsIn, type Layout, Value } from './value.ts'

/**
 * Writes a TF.js Layers model as an ONNX file (operator set 17) with a free batch dimension. Layers may branch, join and
 * hold models; batch normalisation that follows a convolution becomes part of it. The network takes `input` and gives
 * `output`, both float32 in the layout TF.js uses (channels last).
 * Throws `MODEL_EXPORT_UNSUPPORTED`, naming the layer.
 */
export function exportOnnx(model: LayersModel, options: ExportOptions = {}): Uint8Array {
  const [input, output] = [model.inputs[0]!, model.outputs[0]!]
  if (model.inputs.length !== 1) throw unsupported(model, 'it has several inputs')
  if (model.outputs.length !== 1) throw unsupported(model, 'it has several outputs')
  return exportPart(model.name, { tensors: [input], layout: 'last' }, { tensors: [output], layout: 'last' }, options)
}

export interface ExportOptions {
  /** Store weights in half precision; they are cast when the network is loaded. */
  half?: boolean
}

/** Where a network is cut: the tensors that cross, and the layout they do it in. Several cross as one flat vector. */
export interface Crossing {
  tensors: readonly SymbolicTensor[]
  layout: Layout
}

/**
 * Writes the part of a model between two crossings as `exportOnnx` writes the whole. Every path to `to` has to lead
 * through `from`. Throws `MODEL_EXPORT_UNSUPPORTED`.
 */
export function exportPart(name: string, from: Crossing, to: Crossing, options: ExportOptions = {}): Uint8Array {
  const graph = new Graph(options)
  const inputs = taken(graph, from)
  const walk = new Walk(graph, { inputs: [...from.tensors], outputs: [...to.tensors] }, inputs)
  const results = to.tensors.map(tensor => walk.valueOf(tensor))
  return graph.encode(
    name,
    { name: INPUT, shape: extentsOf(from) },
    { name: given(graph, results, to.layout), shape: extentsOf(to) },
  )
}

/** Shape of what crosses, without the batch. */
export function extentsOf({ tensors, layout }: Crossing): readonly number[] {
  const shapes = tensors.map(tensor => extentsIn(layout, shapeOf(tensor)))
  return shapes.length === 1 ? shapes[0]! : [shapes.reduce((sum, shape) => sum + sizeOf(shape), 0)]
}

const INPUT = 'input'

/** The crossing tensors, out of the flat vector where there are several. */
function taken(graph: Graph, { tensors, layout }: Crossing): Value[] {
  const shapes = tensors.map(shapeOf)
  if (shapes.length === 1) return [new Value(graph, shapes[0]!, layout, INPUT)]
  let start = 0
  return shapes.map(shape => {
    const end = start + sizeOf(shape)
    const part = graph.add('Slice', [INPUT, ...[start, end, 1].map(value => graph.ints([value]))])
    start = end
    return new Value(graph, shape, layout, graph.add('Reshape', [part, graph.ints([-1, ...extentsIn(layout, shape)])]))
  })
}

/** The name of what crosses: the tensor, or several as one flat vector. */
function given(graph: Graph, values: readonly Value[], layout: Layout): string {
  const names = values.map(value => value.as(layout))
  if (names.length === 1) return names[0]!
  const flat = names.map(name => graph.add('Flatten', [name], { axis: { i: 1 } }))
  return graph.add('Concat', flat, { axis: { i: 1 } })
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1)
}

/** Writes what a model's outputs need, each tensor once, from its inputs on. */
class Walk {
  readonly #graph: Graph
  readonly #values = new Map<number, Value>()
  /** How many layers take a tensor; the model's own output counts as one more. */
  readonly #uses = new Map<number, number>()

  constructor(graph: Graph, model: Pick<LayersModel, 'inputs' | 'outputs'>, inputs: readonly Value[]) {
    this.#graph = graph
    for (const [i, input] of model.inputs.entries()) this.#values.set(input.id, inputs[i]!)
    for (const output of model.outputs) this.#count(output)
  }

  valueOf(tensor: SymbolicTensor): Value {
    const known = this.#values.get(tensor.id)
    if (known) return known
    const value = this.#write(tensor)
    this.#values.set(tensor.id, value)
    return value
  }

  #write(tensor: SymbolicTensor): Value {
    const layer = tensor.sourceLayer
    if (isModel(layer)) {
      const inputs = tensor.inputs.map(input => this.valueOf(input))
      return new Walk(this.#graph, layer, inputs).valueOf(layer.outputs[tensor.outputTensorIndex ?? 0]!)
    }
    const folded = this.#foldedConvolution(tensor)
    if (folded) return folded
    if (tensor.inputs.length === 0) throw unsupported(layer, 'it is an input of its own')
    const inputs = tensor.inputs.map(input => this.valueOf(input))
    return writeLayer(this.#graph, layer, inputs, shapeOf(tensor))
  }

  /** A convolution and the normalisation after it as one, where nobody else sees what is between them. */
  #foldedConvolution(tensor: SymbolicTensor): Value | undefined {
    if (tensor.sourceLayer.getClassName() !== 'BatchNormalization') return undefined
    const between = tensor.inputs[0]!
    if (this.#values.has(between.id) || this.#uses.get(between.id) !== 1) return undefined
    if (!foldableConvolution(between.sourceLayer)) return undefined
    const normalisation = normalisationOf(tensor.sourceLayer, between.rank)
    const input = this.valueOf(between.inputs[0]!)
    return writeConvolution(this.#graph, between.sourceLayer, input, shapeOf(between), normalisation)
  }

  #count(tensor: SymbolicTensor): void {
    const uses = this.#uses.get(tensor.id) ?? 0
    this.#uses.set(tensor.id, uses + 1)
    if (uses === 0 && !this.#values.has(tensor.id)) for (const input of tensor.inputs) this.#count(input)
  }
}

function isModel(layer: Layer): layer is LayersModel {
  return 'layers' in layer && 'inputs' in layer && 'outputs' in layer
}
