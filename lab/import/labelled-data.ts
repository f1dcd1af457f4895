import type { InputDescription } from '@faultline/inference'
import type { Side } from '../archive/division.ts'
import { directoryOf } from '../archive/exported.ts'
import type { Labelled, LabelledSet } from './labelled.ts'
import { labelledImages } from './labelled-images.ts'
import { labelledSignals } from './labelled-signals.ts'

/**
 * Labelled data for a model, as `labelledImages` or `labelledSignals` find it; of an exported archive, one side. Throws `RECORDING_UNREADABLE`
 * or `RECORDING_INVALID`.
 */
export async function labelledData(
  path: string,
  input: InputDescription,
  classes: readonly string[],
  side: Side = 'validation',
): Promise<LabelledSet> {
  const directory = await directoryOf(path, side)
  return input.kind === 'image' ? labelledImages(directory, input, classes) : labelledSignals(directory, input, classes)
}

/** All of a set at once, for sets that fit into memory. */
export async function everyExample({ examples }: LabelledSet): Promise<Labelled[]> {
  const found: Labelled[] = []
  for await (const example of examples) found.push(example)
  return found
}
