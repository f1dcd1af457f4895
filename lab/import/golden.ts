import {
  type BundleDescription,
  type InputDescription,
  inputSize,
  prepare,
  Random,
  type Window,
} from '@faultline/inference'

const SEED = 1
const MOST_ROWS = 8
/** A network with large inputs gets fewer rows, so that its description stays readable; two tell a batch from one input. */
const MOST_VALUES = 100_000
const LEAST_ROWS = 2
/** Engines round differently, and in proportion to what they add up; more than this is a mistake, not rounding. */
const TOLERANCE = 1e-4

/** Made-up inputs of the kind a network takes, rounded so that the description holds exactly what is run. */
export function goldenInputs(input: InputDescription): number[][] {
  const random = new Random(SEED)
  const rows = Math.max(LEAST_ROWS, Math.min(MOST_ROWS, Math.floor(MOST_VALUES / inputSize(input))))
  return Array.from({ length: rows }, () => Array.from(inputFor(input, random), value => Number(value.toFixed(4))))
}

/** The golden part of a description. `outputs` are all rows, one after the other. */
export function goldenOf(inputs: number[][], outputs: Float32Array, classes: number): BundleDescription['golden'] {
  const largest = outputs.reduce((most, value) => Math.max(most, Math.abs(value)), 1)
  return {
    tolerance: TOLERANCE * largest,
    inputs,
    outputs: inputs.map((_, row) =>
      Array.from(outputs.subarray(row * classes, (row + 1) * classes), value => Number(value.toPrecision(8))),
    ),
  }
}

function inputFor(input: InputDescription, random: Random): Float32Array {
  // Standardised features, whatever they are of.
  if (input.kind === 'features') return Float32Array.from(input.features, () => random.normal())
  return prepare(input.kind === 'signal' ? signal(input, random) : picture(input, random), input).values
}

const SHAFT_HZ = 25

/** A tone of its own height in noise. */
function signal({ samples, rateHz }: Extract<InputDescription, { kind: 'signal' }>, random: Random): Window {
  const [hertz, level] = [(0.02 + 0.4 * random.uniform()) * rateHz, 2 * random.uniform()]
  const values = Float32Array.from(
    { length: samples },
    (_, i) => level * Math.sin((2 * Math.PI * hertz * i) / rateHz) + random.normal(),
  )
  return { samples: values, shape: [samples], rateHz, shaftHz: SHAFT_HZ }
}

/** A colour that changes across the picture, in noise. */
function picture({ shape, layout }: Extract<InputDescription, { kind: 'image' }>, random: Random): Window {
  const [a, b, c] = shape
  const [height, width, channels] = layout === 'hwc' ? [a, b, c] : [b, c, a]
  const colour = Array.from({ length: channels }, () => 255 * random.uniform())
  const slope = Array.from({ length: channels }, () => 160 * (random.uniform() - 0.5))
  const samples = Float32Array.from({ length: height * width * channels }, (_, i) => {
    const [channel, x] = [i % channels, Math.floor(i / channels) % width]
    const value = colour[channel]! + slope[channel]! * (x / width) + 20 * random.normal()
    return Math.min(Math.max(Math.round(value), 0), 255)
  })
  return { samples, shape: [height, width, channels], rateHz: 0 }
}
