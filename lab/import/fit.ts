import type { InputDescription } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import type { DeclaredInput } from './declaration.ts'
import type { OpenShape } from './network.ts'

/** Grey, colour, or colour with transparency. */
const channelCounts = [1, 3, 4]

/** Representations that hand the window's samples on one by one. */
const wholeWindow = ['samples', 'raw']

/**
 * The bundle's input, from what was declared and what the network takes.
 * Throws `MODEL_MISMATCH` where the two contradict each other, `CONFIG_INVALID` where something has to be said first.
 */
export function fitInput(declared: DeclaredInput, shape: OpenShape): InputDescription {
  if (declared.kind === 'features') return fitFeatures(declared, shape)
  return declared.kind === 'signal' ? fitSignal(declared, shape) : fitImage(declared, shape)
}

/** Throws `MODEL_MISMATCH` unless the network gives one value per class, as far as its file says. */
export function fitOutput(classes: readonly string[], shape: OpenShape): void {
  const extents = shape.filter(extent => extent !== 1)
  if (extents.includes(undefined)) return
  const count = extents.reduce<number>((product, extent) => product * extent!, 1)
  if (count !== classes.length || extents.length > 1)
    throw mismatch(`the model gives ${text(shape)}, ${classes.length} classes were named (--classes)`)
}

type Declared<K extends DeclaredInput['kind']> = Extract<DeclaredInput, { kind: K }>

function fitFeatures(declared: Declared<'features'>, shape: OpenShape): InputDescription {
  const { features, mean, scale, samples, rateHz } = declared
  const count = features.length
  if (shape.length !== 1 || (shape[0] !== undefined && shape[0] !== count))
    throw mismatch(`the model takes ${text(shape)}, ${count} features were named (--features)`)
  return {
    kind: 'features',
    samples,
    rateHz,
    features: [...features],
    mean: spread(mean, count, '--mean', 'features'),
    scale: spread(scale, count, '--std', 'features'),
  }
}

function fitSignal(declared: Declared<'signal'>, shape: OpenShape): InputDescription {
  const { samples, rateHz, representation, mean, scale } = declared
  const whole = wholeWindow.includes(representation)
  const known = shape.reduce<number>((product, extent) => product * (extent ?? 1), 1)
  const open = shape.filter(extent => extent === undefined).length
  if (open > 1 || (open === 1 && !whole))
    throw mismatch(`the model takes ${text(shape)}; export it with the length of its input`)
  // One open extent is what the samples leave it.
  const filled = shape.map(extent => extent ?? samples / known)
  const size = filled.reduce((product, extent) => product * extent, 1)
  if (!filled.every(Number.isInteger) || (whole && size !== samples))
    throw mismatch(`the model takes ${text(shape)} values, a window has ${samples} samples (--samples)`)
  return {
    kind: 'signal',
    samples,
    rateHz,
    representation,
    shape: filled,
    ...(mean === 0 && scale === 1 ? {} : { mean, scale }),
  }
}

function fitImage({ layout: wanted, size, pixels }: Declared<'image'>, shape: OpenShape): InputDescription {
  if (shape.length !== 3)
    throw mismatch(`the model takes ${text(shape)}, an image is [height, width, channels] or [channels, height, width]`)
  const possible = (['hwc', 'chw'] as const).filter(layout => channelCounts.includes(channelsOf(shape, layout) ?? 0))
  if (possible.length === 0)
    throw mismatch(`the model takes ${text(shape)}: neither its first nor its last extent is a number of channels`)
  if (wanted && !possible.includes(wanted))
    throw mismatch(`the model takes ${text(shape)}, which is ${possible[0]}, not ${wanted} (--layout)`)
  const layout = wanted ?? possible[0]!
  if (!wanted && possible.length > 1)
    throw new FaultlineError(
      'CONFIG_INVALID',
      `the model takes ${text(shape)}: say with --layout which it is, hwc or chw`,
    )
  const [openHeight, openWidth] = layout === 'hwc' ? shape.slice(0, 2) : shape.slice(1)
  const [height, width] = [openHeight ?? size?.[0], openWidth ?? size?.[1]]
  if (height === undefined || width === undefined)
    throw new FaultlineError('CONFIG_INVALID', `the model takes ${text(shape)}: give its images' --size HEIGHTxWIDTH`)
  if (size && (size[0] !== height || size[1] !== width))
    throw mismatch(`the model takes ${text(shape)}, --size says ${size.join('x')}`)
  const channels = channelsOf(shape, layout)!
  return {
    kind: 'image',
    shape: layout === 'hwc' ? [height, width, channels] : [channels, height, width],
    layout,
    scale: pixels.scale,
    mean: spread(pixels.mean, channels, '--mean', 'channels'),
    std: spread(pixels.std, channels, '--std', 'channels'),
  }
}

function channelsOf(shape: OpenShape, layout: 'hwc' | 'chw'): number | undefined {
  return layout === 'hwc' ? shape[2] : shape[0]
}

/** One value for each of `count`, where one was given for all. */
function spread(values: readonly number[], count: number, option: string, what: string): number[] {
  if (values.length === 1) return new Array<number>(count).fill(values[0]!)
  if (values.length !== count)
    throw new FaultlineError('CONFIG_INVALID', `${option} has ${values.length} values for ${count} ${what}`)
  return [...values]
}

function text(shape: OpenShape): string {
  return `[${shape.map(extent => extent ?? '?').join(', ')}]`
}

function mismatch(message: string): FaultlineError {
  return new FaultlineError('MODEL_MISMATCH', message)
}
