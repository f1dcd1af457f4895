import { join } from 'node:path'
import { type BundleDescription, Random } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { describeDataset } from '../archive/exported.ts'
import { BearingData } from '../data/bearing-data.ts'
import { consecutiveWindows } from '../data/windows.ts'
import type { Labelled } from '../import/labelled.ts'
import { labelledImages } from '../import/labelled-images.ts'
import { labelledSignals } from '../import/labelled-signals.ts'
import { batchesIn } from './images/cifar.ts'

type Described = Pick<BundleDescription, 'input' | 'classes' | 'training'>

/**
 * Labelled windows that a model was not trained on: the validation side of an exported archive; otherwise that which its bundle names, in
 * `data`, or all of `data` for a model whose bundle names none, as those that were imported. Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
 */
export async function heldOut({ input, classes, training }: Described, data: string): Promise<Labelled[]> {
  const exported = (await describeDataset(data)) !== undefined
  const validation = exported ? [] : training.split.validation
  if (input.kind === 'image') {
    if (validation.length === 0) return all((await labelledImages(data, input, classes)).examples)
    const { directory } = await batchesIn(data)
    const images: Labelled[] = []
    for (const { recording, from, to } of validation) {
      const read: Labelled[] = []
      for (const file of recording.split(' '))
        read.push(...(await all((await labelledImages(join(directory, file), input, classes)).examples)))
      images.push(...read.slice(from, to))
    }
    return images
  }
  if (validation.length === 0) return all((await labelledSignals(data, input, classes)).examples)
  const recordings = await BearingData.open(data, input.rateHz)
  const windows = await consecutiveWindows(recordings, validation, input.samples, input.samples, new Random(0))
  return windows.map(({ window, class: name }) => {
    const label = classes.indexOf(name)
    if (label >= 0) return { window, label }
    throw new FaultlineError('RECORDING_INVALID', `${data}: "${name}" is none of the model's classes`)
  })
}

async function all(examples: AsyncIterable<Labelled>): Promise<Labelled[]> {
  const found: Labelled[] = []
  for await (const example of examples) found.push(example)
  return found
}
