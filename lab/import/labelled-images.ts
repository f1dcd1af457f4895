import { type InputDescription, imageExtents, openImages } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import type { Labelled, LabelledSet } from './labelled.ts'

/**
 * Labelled images as `openImages` finds them. Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`, also where an image is
 * of no class that was named.
 */
export async function labelledImages(
  path: string,
  input: Extract<InputDescription, { kind: 'image' }>,
  classes: readonly string[],
): Promise<LabelledSet> {
  const images = await openImages(path, imageExtents(input), classes)
  return { count: images.count, examples: examples() }

  async function* examples(): AsyncGenerator<Labelled> {
    for (let i = 0; i < images.count; i++) {
      const { window, class: name } = await images.read(i)
      const label = classes.indexOf(name ?? '')
      if (label < 0)
        throw new FaultlineError('RECORDING_INVALID', `${path}: "${name ?? 'no class'}" is none of the classes named`)
      yield { window, label }
    }
  }
}
