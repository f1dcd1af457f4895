import type { LayersModel, SymbolicTensor } from '@tensorflow/tfjs'
import { shapeOf } from '../../onnx/layer.ts'

/** A place where a network can be cut: all that comes later is computed from these tensors. */
export interface Boundary {
  tensors: readonly SymbolicTensor[]
  /** The layers the cut comes after. */
  after: string
  shapes: readonly (readonly number[])[]
  /** Numbers that cross. */
  values: number
}

/**
 * Layers that change each value on its own or only its place. An engine makes them one with the layer before, and a cut
 * before them would send as much as one after: they are no step of their own.
 */
const joined = new Set([
  'Activation',
  'BatchNormalization',
  'Dropout',
  'ELU',
  'Flatten',
  'GaussianDropout',
  'GaussianNoise',
  'LeakyReLU',
  'ReLU',
  'Reshape',
  'Softmax',
  'SpatialDropout1D',
])

/**
 * The places to cut a network, one after each step from its input to its output, both included. A step is what lies as
 * many layers from the input; where branches run side by side, as in a residual block, several tensors cross.
 */
export function boundariesOf(model: LayersModel): Boundary[] {
  const steps = new Map<SymbolicTensor, number>()
  const takers = new Map<SymbolicTensor, SymbolicTensor[]>()
  const visit = (tensor: SymbolicTensor): number => {
    const known = steps.get(tensor)
    if (known !== undefined) return known
    const before = tensor.inputs.map(visit)
    for (const input of tensor.inputs) takers.set(input, [...(takers.get(input) ?? []), tensor])
    const step = before.length === 0 ? 0 : Math.max(...before) + Number(!isJoined(tensor))
    steps.set(tensor, step)
    return step
  }
  const output = model.outputs[0]!
  const last = visit(output)
  const crossing = (step: number): SymbolicTensor[] => {
    const done = [...steps.keys()].filter(tensor => steps.get(tensor)! <= step)
    const needed = done.filter(tensor => takers.get(tensor)?.some(taker => steps.get(taker)! > step))
    // What follows from another tensor that crosses anyway need not cross itself.
    const follows = (tensor: SymbolicTensor): boolean =>
      isJoined(tensor) && tensor.inputs.some(input => needed.includes(input) || follows(input))
    return needed.filter(tensor => !follows(tensor))
  }
  return Array.from({ length: last + 1 }, (_, step) => {
    const tensors = step === last ? [output] : crossing(step)
    const shapes = tensors.map(shapeOf)
    const names = tensors.map(({ sourceLayer }) => sourceLayer.name.replace(`${model.name}-`, ''))
    return {
      tensors,
      after: step === 0 ? 'input' : names.join(' + '),
      shapes,
      values: shapes.reduce((sum, shape) => sum + shape.reduce((product, extent) => product * extent, 1), 0),
    }
  })
}

function isJoined({ sourceLayer }: SymbolicTensor): boolean {
  return joined.has(sourceLayer.getClassName())
}
