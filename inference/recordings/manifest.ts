import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'
import { defectOrders, FaultlineError, toFaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import { nominalShaftHz } from './cwru-table.ts'
import type { BearingClass, Dataset, RecordingInfo } from './recording.ts'

/** Short names seen in manifests. */
const classNames: Partial<Record<string, BearingClass>> = { inner: 'inner-race', outer: 'outer-race' }

/** One entry of `manifest.json`; fields beside these are ignored. */
const manifestEntry = z.object({
  file: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*\.f32$/, 'is not a plain .f32 file name'),
  class: z.string().min(1).max(64),
  samplingRateHz: z.number().positive(),
  samples: z.int().positive(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  rpm: z.number().positive().nullish(),
  loadHp: z.number().nonnegative().nullish(),
  faultDiameterInch: z.number().nonnegative().nullish(),
  outerRacePosition: z.string().nullish(),
  recordingGroup: z.string().nullish(),
  bearing: defectOrders.nullish(),
})
const manifestSchema = z.array(manifestEntry).min(1)
type ManifestEntry = z.infer<typeof manifestEntry>

/**
 * Opens a directory with `manifest.json` beside headerless little-endian float32 files.
 * Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
 */
export async function openManifest(directory: string): Promise<Dataset> {
  const entries = new Map((await readManifest(directory)).map(entry => [idOf(entry), entry]))
  return {
    directory,
    recordings: [...entries.values()].map(infoOf),
    read: async id => {
      const entry = entries.get(id)
      if (!entry) throw new FaultlineError('RECORDING_UNREADABLE', `${directory} has no recording "${id}"`)
      return readSamples(directory, entry)
    },
  }
}

async function readManifest(directory: string): Promise<ManifestEntry[]> {
  const path = join(directory, 'manifest.json')
  let json: unknown
  try {
    json = JSON.parse(await readFile(path, 'utf8'))
  } catch (cause) {
    throw toFaultlineError(cause, cause instanceof SyntaxError ? 'RECORDING_INVALID' : 'RECORDING_UNREADABLE', path)
  }
  const parsed = manifestSchema.safeParse(json)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new FaultlineError(
    'RECORDING_INVALID',
    `${path}: ${issue?.path.join('.') || 'manifest'} ${issue?.message ?? ''}`,
  )
}

function infoOf(entry: ManifestEntry): RecordingInfo {
  const info: RecordingInfo = {
    id: idOf(entry),
    class: Object.hasOwn(classNames, entry.class) ? classNames[entry.class]! : entry.class,
    rateHz: entry.samplingRateHz,
    samples: entry.samples,
    group: entry.recordingGroup ?? idOf(entry),
  }
  if (entry.loadHp != null) info.loadHp = entry.loadHp
  if (entry.faultDiameterInch) info.diameterInch = entry.faultDiameterInch
  if (entry.bearing) info.bearing = entry.bearing
  if (entry.outerRacePosition) info.position = entry.outerRacePosition
  if (entry.rpm != null) info.shaftHz = entry.rpm / 60
  else if (entry.loadHp != null) {
    // CWRU 3001 to 3008 state no speed; the motor's nominal speed at their load is within 1 %.
    info.shaftHz = nominalShaftHz(entry.loadHp)
    info.shaftEstimated = true
  }
  return info
}

async function readSamples(directory: string, entry: ManifestEntry): Promise<Float32Array> {
  const path = join(directory, entry.file)
  let bytes: Buffer
  try {
    bytes = await readFile(path)
  } catch (cause) {
    throw toFaultlineError(cause, 'RECORDING_UNREADABLE', path)
  }
  if (bytes.byteLength !== entry.samples * 4)
    throw new FaultlineError(
      'RECORDING_INVALID',
      `${path}: ${bytes.byteLength} bytes, the manifest says ${entry.samples} samples`,
    )
  if (createHash('sha256').update(bytes).digest('hex') !== entry.sha256)
    throw new FaultlineError('RECORDING_INVALID', `${path}: the digest is not the one in the manifest`)
  const samples = new Float32Array(entry.samples)
  for (let i = 0; i < samples.length; i++) {
    const value = bytes.readFloatLE(i * 4)
    if (!Number.isFinite(value))
      throw new FaultlineError('RECORDING_INVALID', `${path}: sample ${i} is not a finite number`)
    samples[i] = value
  }
  return samples
}

function idOf(entry: ManifestEntry): string {
  return basename(entry.file, extname(entry.file))
}
