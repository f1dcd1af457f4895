import { join } from 'node:path'
import type { Classifier, ClassifierOptions, InputDescription } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import type { Labelled } from '../../import/labelled.ts'
import { everyExample } from '../../import/labelled-data.ts'
import { labelledImages } from '../../import/labelled-images.ts'
import { batchesIn } from '../../training/images/cifar.ts'
import { loadPair } from '../classifiers.ts'

export type ImageInput = Extract<InputDescription, { kind: 'image' }>

/** The two bundles `image-local` and `image-server`. */
export interface ImagePair {
  local: Classifier
  server: Classifier
  input: ImageInput
}

/** Loads a pair. Throws the coded errors of bundles and engines, and `BUNDLE_INVALID` for two that do not go together. */
export async function loadImagePair(directory: string, options: ClassifierOptions = {}): Promise<ImagePair> {
  const [local, server] = await loadPair(
    [join(directory, 'image-local'), join(directory, 'image-server')],
    options,
    problemOf,
  )
  return { local, server, input: local.input as ImageInput }
}

function problemOf(local: Classifier, server: Classifier): string | undefined {
  for (const { input, bundle } of [local, server])
    if (input.kind !== 'image') return `${bundle.directory} does not look at images`
  if (local.classes.join() !== server.classes.join()) return 'does not name the classes of image-server'
  const extents = [local, server].map(({ input }) => extentsOf(input as ImageInput).join(' x '))
  return extents[0] === extents[1] ? undefined : `takes images of ${extents[0]}, image-server of ${extents[1]}`
}

/** Height, width, channels. */
export function extentsOf({ shape: [a, b, c], layout }: ImageInput): readonly [number, number, number] {
  return layout === 'hwc' ? [a, b, c] : [b, c, a]
}

const TEST_BATCH = 'test_batch.bin'

/** The file of CIFAR-10's test images, in its directory or in `cifar10` below. Throws `RECORDING_UNREADABLE`. */
export async function findTestBatch(data: string): Promise<string> {
  const { directory, names } = await batchesIn(data)
  if (names.includes(TEST_BATCH)) return join(directory, TEST_BATCH)
  throw new FaultlineError('RECORDING_UNREADABLE', `${directory} has no ${TEST_BATCH}`)
}

/** Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`. */
export async function readImages(file: string, { input, local }: ImagePair): Promise<Labelled[]> {
  return everyExample(await labelledImages(file, input, local.classes))
}
