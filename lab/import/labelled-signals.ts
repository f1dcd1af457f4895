import type { InputDescription } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { BearingData } from '../data/bearing-data.ts'
import type { Labelled, LabelledSet } from './labelled.ts'

type SignalInput = Exclude<InputDescription, { kind: 'image' }>

/** More windows move a temperature no further. */
const MOST_WINDOWS = 10_000

/**
 * Labelled windows, side by side, from the recordings of a data set whose class is one of the model's; of a large set,
 * windows at equal distances. Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
 */
export async function labelledSignals(
  directory: string,
  { samples, rateHz }: SignalInput,
  classes: readonly string[],
): Promise<LabelledSet> {
  const data = await BearingData.open(directory, rateHz)
  const recordings = data.recordings.filter(recording => classes.includes(recording.class))
  if (recordings.length === 0)
    throw new FaultlineError('RECORDING_INVALID', `${directory} has no recording of the classes ${classes.join(', ')}`)
  const total = recordings.reduce((sum, recording) => sum + Math.floor(recording.samples / samples), 0)
  const hop = samples * Math.max(Math.ceil(total / MOST_WINDOWS), 1)
  const windowsOf = (length: number) => Math.floor((length - samples) / hop) + 1
  const count = recordings.reduce((sum, recording) => sum + Math.max(windowsOf(recording.samples), 0), 0)
  async function* examples(): AsyncGenerator<Labelled> {
    for (const { id, class: name, shaftHz, bearing } of recordings) {
      const recorded = await data.read(id)
      for (let from = 0; from + samples <= recorded.length; from += hop) {
        const window = { samples: recorded.slice(from, from + samples), shape: [samples], rateHz, shaftHz }
        yield { window: bearing ? { ...window, bearing } : window, label: classes.indexOf(name) }
      }
    }
  }
  return { count, examples: examples() }
}
