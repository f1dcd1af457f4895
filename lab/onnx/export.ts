import type { LayersModel, SymbolicTensor } from '@tensorflow/tfjs'
import { foldableConvolution } from './convolution.ts'
import { Graph } from './graph.ts'
import { type Layer, normalisationOf, shapeOf, unsupported } from './layer.ts'
import { writeConvolution, writeLayer } from './layers.ts'
import { type Layout, Value } from './value.ts'

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
  return exportPart(model.name, { tensor: input, layout: 'last' }, { tensor: output, layout: 'last' }, options)
}

export interface ExportOptions {
  /** Store weights in half precision; they are cast when the network is loaded. */
  half?: boolean
}

/** A tensor where a network is cut, and the layout it crosses in. */
export interface Cut {
  tensor: SymbolicTensor
  layout: Layout
}

/**
 * Writes the part of a model between two of its tensors as `exportOnnx` writes the whole. Every path to `to` has to lead
 * through `from`. Throws `MODEL_EXPORT_UNSUPPORTED`.
 */
export function exportPart(name: string, from: Cut, to: Cut, options: ExportOptions = {}): Uint8Array {
  const graph = new Graph(options)
  const input = new Value(graph, shapeOf(from.tensor), from.layout, 'input')
  const result = new Walk(graph, { inputs: [from.tensor], outputs: [to.tensor] }, [input]).valueOf(to.tensor)
  return graph.encode(
    name,
    { name: 'input', shape: input.extents(input.layout) },
    { name: result.as(to.layout), shape: result.extents(to.layout) },
  )
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
