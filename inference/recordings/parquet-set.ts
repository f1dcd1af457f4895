import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import * as zlib from 'node:zlib'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { Compressors } from 'hyparquet'
import { plainUnit } from './column-names.ts'
import { type Dataset, type RecordingInfo, unlabelled } from './recording.ts'
import type { RecordedSignal } from './signal-file.ts'

/** The table of recordings in a set that the Python package `bearing-datasets` built. */
export const parquetTable = 'metadata.parquet'

type Row = Record<string, unknown>

interface Place {
  file: string
  rowGroup: number
  row: number
  unit: string | undefined
}

/** Names of faults in these sets that have others here. */
const classNames: Partial<Record<string, string>> = {
  inner: 'inner-race',
  outer: 'outer-race',
  rolling_element: 'ball',
  unknown: unlabelled,
}

/** Channels of speed, temperature or current lie beside those of vibration. */
const vibrations: readonly unknown[] = ['acceleration', 'velocity', 'displacement', 'unknown', undefined]

/**
 * Opens a directory with `metadata.parquet` and `signals/part-*.parquet`: the signals of vibration in it.
 * Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
 */
export async function openParquetSet(directory: string): Promise<Dataset> {
  const path = join(directory, parquetTable)
  const rows = (await readRows(path)).filter(({ quantity }) => vibrations.includes(quantity))
  const places = new Map(rows.map(row => [String(row.signal_id), placeOf(row)]))
  const files = await readdir(join(directory, 'signals')).catch(cause => {
    throw toFaultlineError(cause, 'RECORDING_UNREADABLE', directory)
  })
  const recordings = rows.map(infoOf)
  const odd = recordings.find(({ rateHz, samples }) => !(rateHz > 0 && samples > 0))
  if (odd || recordings.length === 0)
    throw new FaultlineError(
      'RECORDING_INVALID',
      `${path}: ${odd ? `no rate or length of ${odd.id}` : 'no vibrations'}`,
    )
  const signal = async (id: string): Promise<RecordedSignal> => {
    const place = places.get(id)
    if (!place || !files.includes(place.file))
      throw new FaultlineError('RECORDING_UNREADABLE', `${directory} has no recording "${id}"`)
    const samples = await readSignal(join(directory, 'signals', place.file), place)
    return { samples, gaps: [], ...(place.unit !== undefined && { unit: place.unit }) }
  }
  return { directory, recordings, signal, read: async id => (await signal(id)).samples }
}

function infoOf(row: Row): RecordingInfo {
  // Sets built before version 0.2 of the package have other names.
  const fault = String(row.fault_type ?? row.condition ?? 'unknown')
  const rpm = Number(row.speed_rpm ?? row.rpm)
  const unit = unitOf(row)
  const orders = { bpfo: Number(row.bpfo), bpfi: Number(row.bpfi), bsf: Number(row.bsf), ftf: Number(row.ftf) }
  const known = (value: unknown): value is string =>
    typeof value === 'string' && !['unknown', 'none', ''].includes(value)
  return {
    id: String(row.signal_id),
    class: classNames[fault] ?? fault,
    rateHz: Number(row.fs),
    samples: Number(row.n_samples),
    group: String(row.recording_id),
    ...(rpm > 0 && { shaftHz: rpm / 60 }),
    ...(unit !== undefined && { unit }),
    ...(known(row.run_id) && { run: row.run_id }),
    ...(known(row.bearing_model) && { bearingName: row.bearing_model }),
    ...(Object.values(orders).every(order => order > 0) && { bearing: orders }),
  }
}

const placeOf = (row: Row): Place => ({
  file: String(row.signal_file),
  rowGroup: Number(row.signal_row_group),
  row: Number(row.signal_row),
  unit: unitOf(row),
})

const unitOf = ({ unit }: Row): string | undefined =>
  typeof unit === 'string' && unit !== 'unknown' ? plainUnit(unit) : undefined

async function readRows(path: string): Promise<Row[]> {
  return attempt(path, async () => {
    const { asyncBufferFromFile, parquetReadObjects } = await import('hyparquet')
    return parquetReadObjects({ file: await asyncBufferFromFile(path), compressors })
  })
}

async function readSignal(path: string, { rowGroup, row }: Place): Promise<Float32Array> {
  return attempt(path, async () => {
    const { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } = await import('hyparquet')
    const file = await asyncBufferFromFile(path)
    const metadata = await parquetMetadataAsync(file)
    const rowStart = metadata.row_groups.slice(0, rowGroup).reduce((sum, group) => sum + Number(group.num_rows), row)
    const columns = ['signal']
    const found = await parquetReadObjects({ file, metadata, columns, rowStart, rowEnd: rowStart + 1, compressors })
    const values = found[0]?.signal as ArrayLike<number | bigint> | undefined
    if (!values) throw new FaultlineError('RECORDING_INVALID', `row ${row} of group ${rowGroup} is not there`)
    const samples = Float32Array.from(values, Number)
    if (samples.every(Number.isFinite)) return samples
    throw new FaultlineError('RECORDING_INVALID', 'a sample is not a finite number')
  })
}

/** The codec that the package writes with. */
const compressors: Compressors = {
  ZSTD: bytes => {
    if (typeof zlib.zstdDecompressSync !== 'function') throw new Error('Node.js 22.15 or later is needed to read it')
    return new Uint8Array(zlib.zstdDecompressSync(bytes))
  },
}

async function attempt<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    const unreadable = (cause as NodeJS.ErrnoException).syscall !== undefined
    throw toFaultlineError(cause, unreadable ? 'RECORDING_UNREADABLE' : 'RECORDING_INVALID', path)
  }
}
