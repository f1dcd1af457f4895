import type { LayersModel } from '@tensorflow/tfjs'
import { Graph } from './graph.ts'
import { appendLayer, shapeOf, unsupported } from './layers.ts'

/**
 * Writes a TF.js Layers model, a plain chain of layers, as an ONNX file (operator set 17) with a free batch dimension.
 * The network takes `input` and gives `output`, both float32 in the layout TF.js uses.
 * Throws `MODEL_EXPORT_UNSUPPORTED`, naming the layer.
 */
export function exportOnnx(model: LayersModel): Uint8Array {
  const [first, last] = [model.layers[0]!, model.layers.at(-1)!]
  const input = { name: 'input', shape: shapeOf(first, first.input) }
  const graph = new Graph(input.name)
  for (const [i, layer] of model.layers.entries()) {
    const previous = model.layers[i - 1]
    if (previous && layer.input !== previous.output)
      throw unsupported(layer, 'the model is not a plain chain of layers')
    appendLayer(graph, layer)
  }
  return graph.encode(model.name, input, shapeOf(last, last.output))
}
