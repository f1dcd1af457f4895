import { open, readdir, readFile, stat } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { Window } from '../window.ts'
import { decodeImage, imageEndings } from './image-file.ts'

/** Height, width and channels. */
export type ImageExtents = readonly [number, number, number]

/** Images of one size. Opening lists them; each is read when it is asked for. */
export interface ImageSet {
  readonly count: number
  /**
   * One image: 0..255 in height, width, channel order. `class` is the name of what it shows, where that is known.
   * Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
   */
  read(index: number): Promise<{ window: Window; class?: string }>
}

/**
 * Opens the images in a place, in one of three forms:
 * - a file or a directory of binary batches as CIFAR-10 has them (`*.bin`: a label byte, which counts `classes`, then a
 *   plane of bytes for each channel, in the size asked for);
 * - a directory with one directory for each class, named after it;
 * - a directory of images whose classes nobody knows.
 * The images of the last two are files: PNG, JPEG or WebP, brought to the size asked for, or `*.raw` with height x width x
 * channels bytes. Directories of classes take turns, each in the order of its file names.
 * Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
 */
export async function openImages(path: string, extents: ImageExtents, classes: readonly string[]): Promise<ImageSet> {
  const found = await attempt(() => stat(path), path)
  if (!found.isDirectory()) return batchSet([path], extents, classes)
  const entries = await attempt(() => readdir(path, { withFileTypes: true }), path)
  const batches = entries.filter(entry => extname(entry.name) === '.bin').map(entry => join(path, entry.name))
  if (batches.length > 0) return batchSet(batches.sort(), extents, classes)
  const directories = entries.filter(entry => entry.isDirectory()).map(entry => join(path, entry.name))
  const files =
    directories.length > 0
      ? takingTurns(await Promise.all(directories.sort().map(async name => imagesIn(name, basename(name)))))
      : await imagesIn(path)
  if (files.length === 0)
    throw new FaultlineError('RECORDING_UNREADABLE', `${path} holds no ${imageEndings.join(', ')} or .bin files`)
  return {
    count: files.length,
    read: async index => {
      const { file, name } = files[index]!
      const window = await readImage(file, extents)
      return name === undefined ? { window } : { window, class: name }
    },
  }
}

interface ImageFile {
  file: string
  /** Of the class. */
  name?: string
}

async function imagesIn(directory: string, name?: string): Promise<ImageFile[]> {
  const names = await attempt(() => readdir(directory), directory)
  return names
    .filter(file => imageEndings.includes(extname(file).toLowerCase()))
    .sort()
    .map(file => ({ file: join(directory, file), ...(name !== undefined && { name }) }))
}

/** The first of every list, then the second of every list, … */
function takingTurns<T>(lists: readonly (readonly T[])[]): T[] {
  const longest = Math.max(...lists.map(list => list.length))
  return Array.from({ length: longest }, (_, i) => lists.flatMap(list => list.slice(i, i + 1))).flat()
}

async function readImage(file: string, extents: ImageExtents): Promise<Window> {
  const bytes = await attempt(() => readFile(file), file)
  if (extname(file).toLowerCase() !== '.raw') return windowOf(await decodeImage(bytes, extents, file), extents)
  if (bytes.length !== sizeOf(extents))
    throw new FaultlineError('RECORDING_INVALID', `${file} has ${bytes.length} bytes, not ${extents.join(' x ')}`)
  return windowOf(bytes, extents)
}

const windowOf = (bytes: Uint8Array, shape: ImageExtents): Window => ({
  samples: Float32Array.from(bytes),
  shape,
  rateHz: 0,
})

const sizeOf = ([height, width, channels]: ImageExtents): number => height * width * channels

async function batchSet(
  paths: readonly string[],
  extents: ImageExtents,
  classes: readonly string[],
): Promise<ImageSet> {
  const record = 1 + sizeOf(extents)
  const images: { path: string; at: number }[] = []
  for (const path of paths) {
    const { size } = await attempt(() => stat(path), path)
    if (size === 0 || size % record !== 0)
      throw new FaultlineError(
        'RECORDING_INVALID',
        `${path} has ${size} bytes, no multiple of ${record} (a label and ${extents.join(' x ')} values)`,
      )
    for (let at = 0; at < size; at += record) images.push({ path, at })
  }
  /** The last part read: images are asked for one after the other. */
  let part: { path: string; from: number; bytes: Uint8Array } | undefined
  const recordAt = async ({ path, at }: { path: string; at: number }): Promise<Uint8Array> => {
    const from = at - (at % (recordsInPart * record))
    if (part?.path !== path || part.from !== from)
      part = { path, from, bytes: await slice(path, from, recordsInPart * record) }
    const bytes = part.bytes.subarray(at - from, at - from + record)
    if (bytes.length < record) throw new FaultlineError('RECORDING_UNREADABLE', `${path} has become shorter`)
    return bytes
  }
  return {
    count: images.length,
    read: async index => {
      const { path } = images[index]!
      const bytes = await recordAt(images[index]!)
      const name = classes[bytes[0]!]
      if (name === undefined)
        throw new FaultlineError(
          'RECORDING_INVALID',
          `${path}: label ${bytes[0]}, but ${classes.length} classes were named`,
        )
      return { window: windowOf(interleaved(bytes.subarray(1), extents), extents), class: name }
    },
  }
}

/** A whole batch would be 30 MB, too much for the memory of a small device. */
const recordsInPart = 256

/** Part of a file, shorter where the file ends. */
async function slice(path: string, at: number, length: number): Promise<Uint8Array> {
  return attempt(async () => {
    await using file = await open(path)
    const { buffer, bytesRead } = await file.read(new Uint8Array(length), 0, length, at)
    return buffer.subarray(0, bytesRead)
  }, path)
}

/** Planes of channels as pixels. */
function interleaved(planes: Uint8Array, [height, width, channels]: ImageExtents): Uint8Array {
  const plane = height * width
  const pixels = new Uint8Array(planes.length)
  for (let channel = 0; channel < channels; channel++)
    for (let pixel = 0; pixel < plane; pixel++) pixels[pixel * channels + channel] = planes[channel * plane + pixel]!
  return pixels
}

async function attempt<T>(work: () => Promise<T>, path: string): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    throw toFaultlineError(cause, 'RECORDING_UNREADABLE', path)
  }
}
