import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { parse } from 'csv-parse/sync'
import { bearingFrom, knownBearings } from '../signal/bearing-description.ts'
import { nominalShaftHz } from './cwru-table.ts'
import { idOf, type ManifestEntry, manifestSchema } from './manifest-entry.ts'
import { type BearingClass, type Dataset, type RecordingInfo, unlabelled } from './recording.ts'
import { readRecordingFile } from './recording-file.ts'
import type { RecordedSignal } from './signal-file.ts'

/** A list of the recordings in a directory, as JSON or as a table with the same names. */
export const manifestNames = ['manifest.json', 'manifest.csv'] as const

/** Short names seen in manifests. */
const classNames: Partial<Record<string, BearingClass>> = { inner: 'inner-race', outer: 'outer-race' }

/**
 * Opens a directory with a manifest beside its recordings.
 * Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
 */
export async function openManifest(directory: string, name: (typeof manifestNames)[number]): Promise<Dataset> {
  const list = await readManifest(join(directory, name))
  const entries = new Map(list.map(entry => [idOf(entry), entry]))
  if (entries.size < list.length)
    throw new FaultlineError('RECORDING_INVALID', `${join(directory, name)} lists a recording twice`)
  const signal = async (id: string): Promise<RecordedSignal> => {
    const entry = entries.get(id)
    if (!entry) throw new FaultlineError('RECORDING_UNREADABLE', `${directory} has no recording "${id}"`)
    return readSignal(directory, entry)
  }
  return {
    directory,
    recordings: [...entries.values()].map(infoOf),
    signal,
    read: async id => (await signal(id)).samples,
  }
}

async function readManifest(path: string): Promise<ManifestEntry[]> {
  let list: unknown
  try {
    const text = await readFile(path, 'utf8')
    list = path.endsWith('.csv') ? tableOf(text) : JSON.parse(text)
  } catch (cause) {
    const unreadable = (cause as NodeJS.ErrnoException).syscall !== undefined
    throw toFaultlineError(cause, unreadable ? 'RECORDING_UNREADABLE' : 'RECORDING_INVALID', path)
  }
  const parsed = manifestSchema.safeParse(list)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new FaultlineError(
    'RECORDING_INVALID',
    `${path}: ${issue?.path.join('.') || 'manifest'} ${issue?.message ?? ''}`,
  )
}

/** Cells that are numbers become numbers, except in columns of names; empty cells are left out. */
function tableOf(text: string): object[] {
  const rows = parse(text, {
    bom: true,
    trim: true,
    delimiter: [',', ';', '\t'],
    columns: true,
    skip_empty_lines: true,
  })
  const names = ['file', 'variable', 'class', 'recordingGroup', 'machine', 'run', 'unit', 'bearing']
  return (rows as Record<string, string>[]).map(row =>
    Object.fromEntries(
      Object.entries(row)
        .filter(([, cell]) => cell !== '')
        .map(([key, cell]) => [key, names.includes(key) || Number.isNaN(Number(cell)) ? cell : Number(cell)]),
    ),
  )
}

function infoOf(entry: ManifestEntry): RecordingInfo {
  const label = entry.class ?? unlabelled
  const info: RecordingInfo = {
    id: idOf(entry),
    class: Object.hasOwn(classNames, label) ? classNames[label]! : label,
    rateHz: entry.samplingRateHz,
    samples: entry.samples,
    group: entry.recordingGroup ?? idOf(entry),
  }
  if (entry.loadHp != null) info.loadHp = entry.loadHp
  if (entry.faultDiameterInch) info.diameterInch = entry.faultDiameterInch
  if (entry.outerRacePosition) info.position = entry.outerRacePosition
  for (const key of ['machine', 'run', 'part', 'snapshotSamples', 'snapshotIntervalS', 'unit'] as const)
    if (entry[key] != null) Object.assign(info, { [key]: entry[key] })
  addBearing(info, entry)
  if (entry.rpm != null) info.shaftHz = entry.rpm / 60
  else if (entry.loadHp != null) {
    // CWRU 3001 to 3008 state no speed; the motor's nominal speed at their load is within 1 %.
    info.shaftHz = nominalShaftHz(entry.loadHp)
    info.shaftEstimated = true
  }
  return info
}

/** A bearing is named or has its orders stated; those of a known name need not be. */
function addBearing(info: RecordingInfo, { bearing, orders }: ManifestEntry): void {
  if (typeof bearing === 'string') {
    info.bearingName = bearing
    const known = knownBearings.find(name => name === bearing.toLowerCase() || name === `skf-${bearing}`)
    if (known) info.bearing = bearingFrom(known)
  } else if (bearing) info.bearing = bearing
  if (orders) info.bearing = orders
}

async function readSignal(directory: string, entry: ManifestEntry): Promise<RecordedSignal> {
  const { file, samples: count, samplingRateHz: rateHz, unit } = entry
  const path = join(directory, file)
  const signal = file.endsWith('.f32')
    ? { samples: await readFloats(path, entry), gaps: [] }
    : await readRecordingFile(path, {
        rateHz,
        ...(entry.column != null && { column: entry.column }),
        ...(entry.variable != null && { variable: entry.variable }),
      })
  if (signal.samples.length !== count)
    throw new FaultlineError(
      'RECORDING_INVALID',
      `${path}: ${signal.samples.length} samples, the manifest says ${count}`,
    )
  const missing = signal.samples.findIndex(value => !Number.isFinite(value))
  if (missing >= 0) throw new FaultlineError('RECORDING_INVALID', `${path}: sample ${missing} is not a finite number`)
  return { ...signal, rateHz, gaps: withSnapshots(signal.gaps, entry), ...(unit != null && { unit }) }
}

/** Between two snapshots that lie end to end, samples are missing. */
function withSnapshots(gaps: readonly number[], { samples, snapshotSamples }: ManifestEntry): number[] {
  if (snapshotSamples == null) return [...gaps]
  const count = Math.max(0, Math.ceil(samples / snapshotSamples) - 1)
  const seams = Array.from({ length: count }, (_, i) => (i + 1) * snapshotSamples)
  return [...new Set([...gaps, ...seams])].sort((a, b) => a - b)
}

async function readFloats(path: string, { samples: count, sha256 }: ManifestEntry): Promise<Float32Array> {
  const bytes = await readFile(path).catch(cause => {
    throw toFaultlineError(cause, 'RECORDING_UNREADABLE', path)
  })
  if (bytes.byteLength !== count * 4)
    throw new FaultlineError(
      'RECORDING_INVALID',
      `${path}: ${bytes.byteLength} bytes, the manifest says ${count} samples`,
    )
  if (sha256 != null && createHash('sha256').update(bytes).digest('hex') !== sha256)
    throw new FaultlineError('RECORDING_INVALID', `${path}: the digest is not the one in the manifest`)
  return Float32Array.from({ length: count }, (_, i) => bytes.readFloatLE(i * 4))
}
