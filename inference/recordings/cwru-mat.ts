import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { cwruTable, nominalShaftHz } from './cwru-table.ts'
import { readMat } from './mat.ts'
import type { Dataset, RecordingInfo } from './recording.ts'

/** True for the name of an original CWRU file. */
export const isCwruMat = (name: string): boolean => /^\d+\.mat$/.test(name) && cwruTable.has(Number.parseInt(name, 10))

/**
 * Opens a directory of original CWRU drive-end files (`105.mat`, …). Files whose number is not in the table are passed
 * over. Each file is read once on opening for its length and speed, and again by `read`; samples are not kept.
 * Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
 */
export async function openCwruMat(directory: string): Promise<Dataset> {
  const recordings: RecordingInfo[] = []
  for (const name of (await readdir(directory)).sort()) {
    const info = /^\d+\.mat$/.test(name) ? await describe(directory, Number.parseInt(name, 10)) : undefined
    if (info) recordings.push(info)
  }
  if (recordings.length === 0)
    throw new FaultlineError('RECORDING_UNREADABLE', `${directory} holds no CWRU drive-end recording`)
  const read = async (id: string): Promise<Float32Array> => {
    if (!recordings.some(info => info.id === id))
      throw new FaultlineError('RECORDING_UNREADABLE', `${directory} has no recording "${id}"`)
    return (await load(directory, Number.parseInt(id, 10))).samples
  }
  return { directory, recordings, read, signal: async id => ({ samples: await read(id), unit: 'g', gaps: [] }) }
}

async function describe(directory: string, number: number): Promise<RecordingInfo | undefined> {
  const entry = cwruTable.get(number)
  if (!entry) return undefined
  const { samples, rpm } = await load(directory, number)
  const info: RecordingInfo = { id: String(number), ...entry, samples: samples.length, group: String(number) }
  if (rpm === undefined) info.shaftEstimated = true
  info.shaftHz = rpm === undefined ? nominalShaftHz(entry.loadHp) : rpm / 60
  return info
}

async function load(directory: string, number: number): Promise<{ samples: Float32Array; rpm?: number }> {
  const path = join(directory, `${number}.mat`)
  try {
    const arrays = readMat(await readFile(path))
    // Some originals hold a second recording as well (99.mat has X098 and X099), so the file's own number goes first.
    const own = `X${String(number).padStart(3, '0')}`
    const ownSignal = `${own}_DE_time`
    const name = arrays.has(ownSignal) ? ownSignal : [...arrays.keys()].find(key => /^X\d+_DE_time$/.test(key))
    const values = arrays.get(name ?? ownSignal)?.values
    if (!name || !values?.length) throw new FaultlineError('RECORDING_INVALID', 'no drive-end signal (X…_DE_time)')
    if (!values.every(Number.isFinite)) throw new FaultlineError('RECORDING_INVALID', 'a sample is not a finite number')
    const rpm = arrays.get(name.replace('_DE_time', 'RPM'))?.values[0]
    const samples = Float32Array.from(values)
    return rpm !== undefined && rpm > 0 ? { samples, rpm } : { samples }
  } catch (cause) {
    if (cause instanceof FaultlineError) throw new FaultlineError(cause.code, `${path}: ${cause.message}`, { cause })
    throw toFaultlineError(cause, 'RECORDING_UNREADABLE', path)
  }
}
