import { type InputDescription, inputSize, prepare } from '@faultline/inference'
import { classNumbers, type LabelledWindow } from '../data/windows.ts'

/** Prepared inputs with their class numbers, row after row. */
export interface Examples {
  inputs: Float32Array
  labels: Uint8Array
  /** Values in one input. */
  width: number
}

/** What a model with this input sees of the windows; classes are numbered as in `classes`. */
export function examplesOf(
  windows: readonly LabelledWindow[],
  input: InputDescription,
  classes: readonly string[],
): Examples {
  const width = inputSize(input)
  const inputs = new Float32Array(windows.length * width)
  for (const [i, { window, bearing }] of windows.entries())
    inputs.set(prepare(window, input, bearing).values, i * width)
  return { inputs, labels: classNumbers(windows, classes), width }
}

type FeatureInput = Extract<InputDescription, { kind: 'features' }>

/** A feature input whose mean and scale make each of the named features of these windows zero-mean and unit-variance. */
export function standardisedInput(
  windows: readonly LabelledWindow[],
  input: Pick<FeatureInput, 'samples' | 'rateHz' | 'features'>,
): FeatureInput {
  const width = input.features.length
  const plain: FeatureInput = {
    ...input,
    kind: 'features',
    mean: new Array<number>(width).fill(0),
    scale: new Array<number>(width).fill(1),
  }
  const sums = new Float64Array(width)
  const squares = new Float64Array(width)
  for (const { window, bearing } of windows)
    for (const [i, value] of prepare(window, plain, bearing).values.entries()) {
      sums[i] = sums[i]! + value
      squares[i] = squares[i]! + value * value
    }
  const mean = Array.from(sums, sum => sum / windows.length)
  const scale = Array.from(squares, (square, i) => Math.sqrt(Math.max(square / windows.length - mean[i]! ** 2, 0)) || 1)
  return { ...plain, mean, scale }
}
