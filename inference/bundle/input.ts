import { FaultlineError } from '@faultline/protocol'
import type { ImageExtents } from '../recordings/images.ts'
import type { Bearing } from '../signal/bearing.ts'
import { skf6205 } from '../signal/bearing.ts'
import { checkWindow } from '../signal/check.ts'
import { extractFeatures, isOrderFeature, pickFeatures } from '../signal/features.ts'
import { isOrderRepresentation, represent } from '../signal/representations.ts'
import type { Window } from '../window.ts'
import type { InputDescription } from './description.ts'

/** A window ready for the network. */
export interface PreparedInput {
  /** `inputSize(description)` values. */
  values: Float32Array
  /** Every feature of the window, where making the input computed them. */
  features?: Record<string, number>
}

/** Values in one network input, without the batch. */
export function inputSize(input: InputDescription): number {
  return inputShape(input).reduce((product, extent) => product * extent, 1)
}

/** Shape of one network input, without the batch. */
export function inputShape(input: InputDescription): readonly number[] {
  return input.kind === 'features' ? [input.features.length] : input.shape
}

/** Whether a model cannot judge a window without its shaft speed. */
export function needsShaftSpeed(input: InputDescription): boolean {
  if (input.kind === 'features') return input.features.some(isOrderFeature)
  return input.kind === 'signal' && isOrderRepresentation(input.representation)
}

/** Height, width and channels of the images a model takes, whatever the layout of its network. */
export function imageExtents({ shape, layout }: Extract<InputDescription, { kind: 'image' }>): ImageExtents {
  const [a, b, c] = shape
  return layout === 'hwc' ? [a, b, c] : [b, c, a]
}

/**
 * Makes the network's input from a window. What is seen in orders belongs to the window's bearing, or else at `bearing`.
 * Throws `WINDOW_INVALID` where length, rate, shape or values are not what the description asks for, or where it asks
 * for the shaft speed and the window has none, and `FEATURE_UNKNOWN` for a feature or representation that does not exist.
 */
export function prepare(window: Window, input: InputDescription, bearing: Bearing = skf6205): PreparedInput {
  if (input.kind === 'image') return { values: imageInput(window, input) }
  checkLength(window, input)
  const own = window.bearing ?? bearing
  if (input.kind === 'signal') return { values: signalInput(window, input, own) }
  const features = extractFeatures(window, own)
  const picked = pickFeatures(features, input.features)
  const values = Float32Array.from(picked, (value, i) => (value - input.mean[i]!) / input.scale[i]!)
  return { values, features }
}

/** Crystals of two devices differ a little; a wrong rate differs a lot. */
const RATE_TOLERANCE = 0.01

function checkLength(window: Window, input: { samples: number; rateHz: number }): void {
  if (window.samples.length !== input.samples)
    throw new FaultlineError(
      'WINDOW_INVALID',
      `the model takes ${input.samples} samples, the window has ${window.samples.length}`,
    )
  if (!(Math.abs(window.rateHz - input.rateHz) <= RATE_TOLERANCE * input.rateHz))
    throw new FaultlineError(
      'WINDOW_INVALID',
      `the model was made for ${input.rateHz} Hz, the window was taken at ${window.rateHz} Hz`,
    )
}

function signalInput(
  window: Window,
  input: Extract<InputDescription, { kind: 'signal' }>,
  bearing: Bearing,
): Float32Array {
  const values = represent(window, input, bearing)
  const { mean = 0, scale = 1 } = input
  return mean === 0 && scale === 1 ? values : values.map(value => (value - mean) / scale)
}

const UNIT_PIXELS = 1 / 255

/** Pixels 0..255 in height, width, channel order to `(x * scale - mean) / std` in the layout the network takes. */
function imageInput(window: Window, input: Extract<InputDescription, { kind: 'image' }>): Float32Array {
  checkWindow(window)
  const wanted = imageExtents(input)
  const [height, width, channels] = wanted
  if (window.shape.length !== 3 || wanted.some((extent, i) => extent !== window.shape[i]))
    throw new FaultlineError(
      'WINDOW_INVALID',
      `the model takes an image of [${wanted}], the window is [${window.shape}]`,
    )
  const values = new Float32Array(window.samples.length)
  const { scale = UNIT_PIXELS } = input
  const plane = height * width
  for (let pixel = 0; pixel < plane; pixel++) {
    for (let channel = 0; channel < channels; channel++) {
      const pixelValue = window.samples[pixel * channels + channel]! * scale
      const value = (pixelValue - input.mean[channel]!) / input.std[channel]!
      values[input.layout === 'hwc' ? pixel * channels + channel : channel * plane + pixel] = value
    }
  }
  return values
}
