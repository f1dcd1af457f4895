import { FaultlineError } from '@faultline/protocol'
import type { layers, SymbolicTensor } from '@tensorflow/tfjs'

export type Layer = layers.Layer

/** A batch normalisation as what it does at inference: multiply each channel and add to it. */
export interface Normalisation {
  scale: Float32Array
  shift: Float32Array
}

export function normalisationOf(layer: Layer, rank: number): Normalisation {
  const config = layer.getConfig()
  if (config.axis !== -1 && config.axis !== rank - 1) throw unsupported(layer, 'only the last axis can be normalised')
  const weights = weightsOf(layer).map(weight => weight.values)
  const gamma = config.scale ? weights.shift()! : undefined
  const beta = config.center ? weights.shift()! : undefined
  const [mean, variance] = weights as [Float32Array, Float32Array]
  const scale = variance.map((value, i) => (gamma?.[i] ?? 1) / Math.sqrt(value + Number(config.epsilon)))
  const shift = mean.map((value, i) => (beta?.[i] ?? 0) - value * scale[i]!)
  return { scale, shift }
}

/** A tensor's shape without the batch; every other dimension must be known. */
export function shapeOf(tensor: SymbolicTensor): number[] {
  const shape = tensor.shape.slice(1)
  if (shape.some(size => size === null)) throw unsupported(tensor.sourceLayer, 'a dimension besides the batch is open')
  return shape as number[]
}

export function weightsOf(layer: Layer): { shape: number[]; values: Float32Array }[] {
  return layer.getWeights().map(weight => ({ shape: weight.shape, values: Float32Array.from(weight.dataSync()) }))
}

/** A setting that is one number or one for each of `count` axes. */
export function perAxis(value: unknown, count: number): number[] {
  return Array.from({ length: count }, (_, i) => Number(Array.isArray(value) ? value[i] : value))
}

/**
 * Padding at the start and at the end of one axis. TensorFlow's "same" puts the odd sample at the end; "causal" puts all
 * at the start.
 */
export function paddingOf(padding: string, length: number, reach: number, stride: number): [number, number] {
  if (padding === 'valid') return [0, 0]
  if (padding === 'causal') return [reach - 1, 0]
  const total = Math.max((Math.ceil(length / stride) - 1) * stride + reach - length, 0)
  return [Math.floor(total / 2), Math.ceil(total / 2)]
}

/** Paddings of several axes in ONNX' order: all starts, then all ends. */
export function startsThenEnds(paddings: readonly (readonly [number, number])[]): number[] {
  return [...paddings.map(([start]) => start), ...paddings.map(([, end]) => end)]
}

export function requireChannelsLast(layer: Layer): void {
  if (layer.getConfig().dataFormat === 'channelsFirst') throw unsupported(layer, 'channelsFirst is not supported')
}

export function unsupported(layer: Layer, why: string): FaultlineError {
  return new FaultlineError('MODEL_EXPORT_UNSUPPORTED', `layer "${layer.name}" (${layer.getClassName()}): ${why}`)
}
