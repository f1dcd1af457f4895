import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Random } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import { BearingData } from '../data/bearing-data.ts'
import { consecutiveWindows, type LabelledWindow } from '../data/windows.ts'
import { bearingSignal } from '../training/bearing-models.ts'
import type { Side } from './division.ts'
import { datasetFile } from './export.ts'

const side = z.object({ windows: z.number(), machines: z.array(z.string()) })
const datasetDescription = z.object({
  format: z.literal(1),
  task: z.string(),
  sides: z.object({ train: side, validation: side, test: side }),
})

export type DatasetDescription = z.infer<typeof datasetDescription>

/** What an exported data set says of itself; undefined for a directory that is none. Throws `RECORDING_INVALID`. */
export async function describeDataset(directory: string): Promise<DatasetDescription | undefined> {
  const text = await readFile(join(directory, datasetFile), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  try {
    return datasetDescription.parse(JSON.parse(text))
  } catch (cause) {
    throw new FaultlineError('RECORDING_INVALID', `${join(directory, datasetFile)} is not as it was exported`, {
      cause,
    })
  }
}

/**
 * Where to look for labelled data: one side of a data set that was exported from archives, anything else as it is.
 * Throws `RECORDING_INVALID` for a side without windows.
 */
export async function directoryOf(directory: string, side: Side): Promise<string> {
  const description = await describeDataset(directory)
  if (!description) return directory
  if (description.sides[side].windows > 0) return join(directory, side)
  throw new FaultlineError(
    'RECORDING_INVALID',
    `${directory} has no windows on its ${side} side: it has too few machines, or another --seed divides them better`,
  )
}

/**
 * The windows of one side that a bearing model can look at, put on the common grid as recordings are; none where the side has none.
 * Throws `RECORDING_INVALID` for a directory that is no export, and `RECORDING_UNREADABLE`.
 */
export async function exportedWindows(directory: string, side: Side, random: Random): Promise<LabelledWindow[]> {
  const description = await describeDataset(directory)
  if (!description) throw new FaultlineError('RECORDING_INVALID', `${directory} is no data set that was exported`)
  if (description.sides[side].windows === 0) return []
  const data = await BearingData.open(join(directory, side), bearingSignal.rateHz)
  const parts = data.recordings.map(({ id, class: name }) => ({ recording: id, class: name }))
  return consecutiveWindows(data, parts, bearingSignal.samples, bearingSignal.samples, random)
}
