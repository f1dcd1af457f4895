import { readdir, readFile, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import type { InputDescription } from '@faultline/inference'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { Labelled, LabelledSet } from './labelled.ts'

type ImageInput = Extract<InputDescription, { kind: 'image' }>

/**
 * Labelled images from a file or directory of binary batches as CIFAR-10 has them (`*.bin`: a label byte, then a plane of
 * bytes for each channel), or from a directory with one directory per class that holds images as bytes (`*.raw`: height
 * x width x channels). Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
 */
export async function labelledImages(
  path: string,
  input: ImageInput,
  classes: readonly string[],
): Promise<LabelledSet> {
  const [a, b, c] = input.shape
  const extents: Extents = input.layout === 'hwc' ? [a, b, c] : [b, c, a]
  const found = await attempt(() => stat(path), path)
  const batches = found.isDirectory() ? await filesIn(path, '.bin') : [path]
  if (batches.length > 0) {
    const sizes = await Promise.all(batches.map(async batch => (await attempt(() => stat(batch), batch)).size))
    const count = sizes.reduce((sum, size) => sum + Math.floor(size / recordOf(extents)), 0)
    return { count, examples: imagesOfBatches(batches, extents, classes) }
  }
  const files: { file: string; label: number }[] = []
  for (const [label, name] of classes.entries())
    for (const file of await filesIn(join(path, name), '.raw')) files.push({ file, label })
  return { count: files.length, examples: rawImages(files, extents) }
}

/** Height, width, channels. */
type Extents = readonly [number, number, number]

function recordOf(extents: Extents): number {
  return 1 + extents.reduce((product, extent) => product * extent, 1)
}

async function* imagesOfBatches(
  paths: readonly string[],
  extents: Extents,
  classes: readonly string[],
): AsyncGenerator<Labelled> {
  for (const path of paths) yield* imagesOfBatch(path, extents, classes)
}

async function* imagesOfBatch(path: string, extents: Extents, classes: readonly string[]): AsyncGenerator<Labelled> {
  const bytes = await attempt(() => readFile(path), path)
  const [height, width, channels] = extents
  const plane = height * width
  const record = recordOf(extents)
  if (bytes.length === 0 || bytes.length % record !== 0)
    throw new FaultlineError(
      'RECORDING_INVALID',
      `${path} has ${bytes.length} bytes, no multiple of ${record} (a label and ${extents.join(' x ')} values)`,
    )
  for (let at = 0; at < bytes.length; at += record) {
    const label = bytes[at]!
    if (label >= classes.length)
      throw new FaultlineError('RECORDING_INVALID', `${path}: label ${label}, but ${classes.length} classes were named`)
    const samples = new Float32Array(record - 1)
    for (let channel = 0; channel < channels; channel++)
      for (let pixel = 0; pixel < plane; pixel++)
        samples[pixel * channels + channel] = bytes[at + 1 + channel * plane + pixel]!
    yield { window: { samples, shape: extents, rateHz: 0 }, label }
  }
}

async function* rawImages(
  files: readonly { file: string; label: number }[],
  extents: Extents,
): AsyncGenerator<Labelled> {
  for (const { file, label } of files) {
    const bytes = await attempt(() => readFile(file), file)
    if (bytes.length !== recordOf(extents) - 1)
      throw new FaultlineError('RECORDING_INVALID', `${file} has ${bytes.length} bytes, not ${extents.join(' x ')}`)
    yield { window: { samples: Float32Array.from(bytes), shape: extents, rateHz: 0 }, label }
  }
}

async function filesIn(directory: string, ending: string): Promise<string[]> {
  const names = await attempt(() => readdir(directory), directory)
  return names
    .filter(name => extname(name) === ending)
    .sort()
    .map(name => join(directory, name))
}

async function attempt<T>(work: () => Promise<T>, path: string): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    throw toFaultlineError(cause, 'RECORDING_UNREADABLE', path)
  }
}
