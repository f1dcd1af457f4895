import { checkFeatureNames, representationNames } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import type { DeclaredInput, PixelScaling } from './declaration.ts'

export const inputKinds = ['features', 'signal', 'image'] as const

/** Ways of scaling pixels that frameworks use, by what comes out. */
export const pixelScalings: Record<string, PixelScaling> = {
  /** 0..255, as Keras' own applications with a Rescaling layer take them. */
  none: { scale: 1, mean: [0], std: [1] },
  /** 0..1. */
  unit: { scale: 1 / 255, mean: [0], std: [1] },
  /** -1..1. */
  symmetric: { scale: 1 / 127.5, mean: [1], std: [1] },
  /** Mean and deviation of ImageNet's channels, as torchvision's models take them. */
  imagenet: { scale: 1 / 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
}

/** The options of `import` that say what the model looks at. */
export interface InputOptions {
  input: (typeof inputKinds)[number]
  layout?: 'hwc' | 'chw'
  size?: [number, number]
  normalise?: string
  mean?: number[]
  std?: number[]
  samples?: number
  rate?: number
  representation?: string
  features?: string[]
}

const optionsOf: Record<InputOptions['input'], readonly (keyof InputOptions)[]> = {
  features: ['samples', 'rate', 'features', 'mean', 'std'],
  signal: ['samples', 'rate', 'representation', 'mean', 'std'],
  image: ['layout', 'size', 'normalise', 'mean', 'std'],
}

/** Throws `CONFIG_INVALID` for options that are missing, contradict each other or belong to another kind of input. */
export function declaredInput(options: InputOptions): DeclaredInput {
  const { input: kind, mean, std } = options
  const strange = Object.values(optionsOf)
    .flat()
    .find(name => options[name] !== undefined && !optionsOf[kind].includes(name))
  if (strange) throw wrong(`--${strange} does not go with --input ${kind}`)
  if (std?.some(value => value <= 0)) throw wrong('--std takes numbers above 0')
  if (kind === 'image') {
    const { layout, size } = options
    return { kind, layout, size, pixels: scalingOf(options) }
  }
  const samples = required(options, 'samples')
  if (!Number.isInteger(samples)) throw wrong('--samples takes a whole number')
  const rateHz = required(options, 'rate')
  if (kind === 'features') {
    const features = required(options, 'features')
    checkFeatureNames(features)
    return { kind, samples, rateHz, features, mean: mean ?? [0], scale: std ?? [1] }
  }
  const representation = required(options, 'representation')
  if (!representationNames.includes(representation))
    throw wrong(`there is no representation "${representation}"; there are ${representationNames.join(', ')}`)
  return { kind, samples, rateHz, representation, mean: one('--mean', mean, 0), scale: one('--std', std, 1) }
}

function scalingOf({ normalise, mean, std }: InputOptions): PixelScaling {
  const how = normalise ?? (mean || std ? 'mean-std' : undefined)
  if (how === undefined)
    throw wrong('--input image needs --normalise: how pixels were scaled when the model was trained')
  if (how !== 'mean-std') {
    if (mean || std) throw wrong(`--normalise ${how} has a mean and deviation of its own; leave --mean and --std away`)
    return pixelScalings[how]!
  }
  if (!mean || !std) throw wrong('--normalise mean-std needs both --mean and --std')
  return { scale: 1 / 255, mean, std }
}

function required<K extends 'samples' | 'rate' | 'features' | 'representation'>(
  options: InputOptions,
  name: K,
): NonNullable<InputOptions[K]> {
  const value = options[name]
  if (value === undefined) throw wrong(`--input ${options.input} needs --${name}`)
  return value
}

function one(option: string, values: readonly number[] | undefined, otherwise: number): number {
  if (values && values.length !== 1) throw wrong(`${option} takes one number with --input signal`)
  return values?.[0] ?? otherwise
}

function wrong(message: string): FaultlineError {
  return new FaultlineError('CONFIG_INVALID', message)
}
