import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { labelledImages } from '../../import/labelled-images.ts'
import { colours, TrainingImages } from './training-images.ts'

/** In the order of the labels (Krizhevsky 2009). */
export const cifarClasses = [
  'airplane',
  'automobile',
  'bird',
  'cat',
  'deer',
  'dog',
  'frog',
  'horse',
  'ship',
  'truck',
] as const

/** Height and width in pixels. */
export const cifarSize = 32

/** How an image becomes the networks' input. */
export const cifarInput = {
  kind: 'image',
  shape: [cifarSize, cifarSize, 3] as [number, number, number],
  layout: 'hwc',
  mean: [...colours.mean],
  std: [...colours.std],
} as const

/** The binary batches of one side. Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`. */
export async function readCifar(
  data: string,
  side: 'train' | 'test',
): Promise<{ files: string[]; images: TrainingImages }> {
  const { directory, names } = await batchesIn(data)
  const files = names.filter(name => (side === 'test' ? /^test_batch/ : /^data_batch/).test(name)).sort()
  if (files.length === 0)
    throw new FaultlineError(
      'RECORDING_UNREADABLE',
      `${directory} has no ${side === 'test' ? 'test_batch.bin' : 'data_batch_*.bin'}`,
    )
  const pixels: Uint8Array[] = []
  const labels: number[] = []
  for (const file of files) {
    const { examples } = await labelledImages(join(directory, file), { ...cifarInput, mean: [], std: [] }, cifarClasses)
    for await (const { window, label } of examples) {
      pixels.push(Uint8Array.from(window.samples))
      labels.push(label)
    }
  }
  return { files, images: new TrainingImages(Buffer.concat(pixels), Uint8Array.from(labels), cifarSize, cifarSize) }
}

/** The directory itself, or `cifar10` in it, with the names of its files. Throws `RECORDING_UNREADABLE`. */
export async function batchesIn(data: string): Promise<{ directory: string; names: string[] }> {
  try {
    const names = await readdir(data)
    if (!names.includes('cifar10')) return { directory: data, names }
    const directory = join(data, 'cifar10')
    return { directory, names: await readdir(directory) }
  } catch (cause) {
    throw toFaultlineError(cause, 'RECORDING_UNREADABLE', data)
  }
}
