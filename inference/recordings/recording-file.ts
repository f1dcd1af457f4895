import { readFile, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { isMat, openMat } from './mat-file.ts'
import type { Marks } from './separators.ts'
import { chosen, type RecordedSignal, type SignalChoice, type SignalFile } from './signal-file.ts'
import { snapshotPaths } from './snapshots.ts'
import { readTable } from './table.ts'
import { textOf } from './text.ts'
import { isWav, openWav } from './wav.ts'

/** Crystals differ a little; a recording at another rate differs a lot. */
export const rateTolerance = 0.01

export interface RecordingFileOptions extends SignalChoice, Partial<Marks> {
  /** What is known of the sampling rate from elsewhere; a file that contradicts it is refused. */
  rateHz?: number
}

/**
 * Opens a file with recorded signals, whatever its name: what it is shows in its contents.
 * Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
 */
export async function openRecordingFile(path: string, options: RecordingFileOptions = {}): Promise<SignalFile> {
  const bytes = await readFile(path).catch(cause => {
    throw toFaultlineError(cause, 'RECORDING_UNREADABLE', path)
  })
  return named(path, async () => {
    if (isWav(bytes)) return openWav(bytes)
    if (isMat(bytes)) return openMat(bytes, options)
    const text = textOf(bytes)
    if (text === undefined) throw new Error('is no table of numbers, no WAV and no MATLAB file')
    return tableFile(text, options)
  })
}

/**
 * Reads one signal of a file; of a directory of snapshots, or of those that a pattern such as `run/acc_*.csv` names, all
 * of them end to end with a gap between. The file's own rate goes before the one stated; more than 1 % between them is an
 * error. Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
 */
export async function readRecordingFile(path: string, options: RecordingFileOptions = {}): Promise<RecordedSignal> {
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory() || (!found && basename(path).includes('*'))) return readSnapshots(path, options)
  return readOne(path, options)
}

async function readSnapshots(path: string, options: RecordingFileOptions): Promise<RecordedSignal> {
  const parts: Float32Array[] = []
  const gaps: number[] = []
  let first: RecordedSignal | undefined
  let length = 0
  for (const file of await snapshotPaths(path)) {
    const rateHz = first?.rateHz ?? options.rateHz
    const signal = await readOne(file, { ...options, ...(rateHz !== undefined && { rateHz }) })
    first ??= signal
    if (length > 0) gaps.push(length)
    for (const gap of signal.gaps) gaps.push(length + gap)
    parts.push(signal.samples)
    length += signal.samples.length
  }
  const samples = new Float32Array(length)
  let at = 0
  for (const part of parts) {
    samples.set(part, at)
    at += part.length
  }
  return { ...first, samples, gaps }
}

async function readOne(path: string, options: RecordingFileOptions): Promise<RecordedSignal> {
  const file = await openRecordingFile(path, options)
  return named(path, async () => {
    const signal = await file.read(chosen(file.signals, options, file.format === 'wav' ? 'channel' : 'column'))
    const { rateHz } = options
    if (rateHz === undefined) return signal
    if (signal.rateHz === undefined) return { ...signal, rateHz }
    if (Math.abs(signal.rateHz - rateHz) <= rateTolerance * rateHz) return signal
    throw new Error(
      `was recorded at ${signal.rateHz} Hz, as it says itself, not at ${rateHz} Hz; times in ms or µs say so in the name of their column: "time (ms)"`,
    )
  })
}

function tableFile(text: string, { separator, decimal }: RecordingFileOptions): SignalFile {
  const table = readTable(text, { ...(separator && { separator }), ...(decimal && { decimal }) })
  const { timing, timeColumns } = table
  const signals = table.columns.flatMap(({ name, unit, values }, index) =>
    timeColumns.includes(index) || !values.some(Number.isFinite)
      ? []
      : [{ name, index, ...(unit !== undefined && { unit }), samples: values.length }],
  )
  return {
    format: 'table',
    signals,
    ...(timing && { rateHz: timing.rateHz }),
    read: ({ index, unit }) => {
      const { values, fault } = table.columns[index]!
      if (fault !== undefined) throw new Error(fault)
      return {
        samples: Float32Array.from(values),
        ...(timing && { rateHz: timing.rateHz }),
        ...(unit !== undefined && { unit }),
        gaps: timing?.gaps ?? [],
      }
    },
  }
}

async function named<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    throw new FaultlineError('RECORDING_INVALID', `${path}: ${(cause as Error).message}`, { cause })
  }
}
