import { join } from 'node:path'
import { type BundleDescription, Random } from '@faultline/inference'
import { describeDataset } from '../archive/exported.ts'
import { BearingData } from '../data/bearing-data.ts'
import { classNumbers, consecutiveWindows } from '../data/windows.ts'
import type { Labelled } from '../import/labelled.ts'
import { everyExample, labelledData } from '../import/labelled-data.ts'
import { labelledImages } from '../import/labelled-images.ts'
import { batchesIn } from './images/cifar.ts'

type Described = Pick<BundleDescription, 'input' | 'classes' | 'training'>

/**
 * Labelled windows that a model was not trained on: the validation side of an exported archive; otherwise that which its bundle names, in
 * `data`, or all of `data` for a model whose bundle names none, as those that were imported. Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
 */
export async function heldOut({ input, classes, training }: Described, data: string): Promise<Labelled[]> {
  const exported = (await describeDataset(data)) !== undefined
  const validation = exported ? [] : training.split.validation
  if (validation.length === 0) return everyExample(await labelledData(data, input, classes))
  if (input.kind === 'image') {
    const { directory } = await batchesIn(data)
    const images: Labelled[] = []
    for (const { recording, from, to } of validation) {
      const read: Labelled[] = []
      for (const file of recording.split(' '))
        read.push(...(await everyExample(await labelledImages(join(directory, file), input, classes))))
      images.push(...read.slice(from, to))
    }
    return images
  }
  const recordings = await BearingData.open(data, input.rateHz)
  const windows = await consecutiveWindows(recordings, validation, input.samples, input.samples, new Random(0))
  const labels = classNumbers(windows, classes)
  return windows.map(({ window }, i) => ({ window, label: labels[i]! }))
}
