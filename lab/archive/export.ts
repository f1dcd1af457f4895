import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { featureNames } from '@faultline/inference'
import { decodeWindow, FaultlineError, toFaultlineError } from '@faultline/protocol'
import { Progress } from '@faultline/runtime'
import { type ArchivedWindow, ArchiveReader, type HardWindow } from '@faultline/server-agent'
import { csvLine } from './csv.ts'
import { type Side, sideOf, sides } from './division.ts'

export interface ExportOptions {
  archives: readonly string[]
  /** A directory that is not there yet. */
  out: string
  /** Needed where the archives hold several. */
  task?: string
  /** Leaves out what no person has labelled. */
  humanOnly?: boolean
  /** Divides the machines. */
  seed: number
}

/** A window as it was exported; its features are in the table alone. */
export interface ExportedWindow {
  side: Side
  window: Omit<ArchivedWindow, 'features'>
  label: string
  labelledBy: 'human' | 'server'
  /** Below `out`; none where its samples were not kept. */
  file: string | undefined
}

export interface Export {
  task: string
  windows: readonly ExportedWindow[]
  /** Windows whose samples are damaged or went while they were read. */
  lost: number
}

export const datasetFile = 'dataset.json'

/**
 * Writes the windows of archives as a data set: a directory for each side with recordings (`manifest.json`) or images
 * (a directory for each class) as training reads them, `windows.csv` with all that is known of each, and `dataset.json`. All of it
 * or nothing. Throws `ARCHIVE_FAILED`, `CONFIG_EXISTS`, `CONFIG_INVALID` and `OUTPUT_UNWRITABLE`.
 */
export async function exportDataset(options: ExportOptions): Promise<Export> {
  const { archives, out } = options
  if (existsSync(out)) throw new FaultlineError('CONFIG_EXISTS', `${out} is there already`)
  const readers: ArchiveReader[] = []
  const draft = `${out}.part`
  try {
    for (const archive of archives) readers.push(ArchiveReader.open(archive))
    const task = options.task ?? onlyTask(readers)
    await rm(draft, { recursive: true, force: true })
    await mkdir(draft, { recursive: true })
    const written = await writeWindows(readers, task, draft, options)
    if (written.windows.length === 0)
      throw new FaultlineError('ARCHIVE_FAILED', `no window of ${task} in ${archives.join(', ')} can be exported`)
    await rename(draft, out)
    return written
  } catch (thrown) {
    await rm(draft, { recursive: true, force: true })
    throw toFaultlineError(thrown, 'OUTPUT_UNWRITABLE', out)
  } finally {
    for (const reader of readers) reader.close()
  }
}

function onlyTask(readers: readonly ArchiveReader[]): string {
  const tasks = [...new Set(readers.flatMap(reader => reader.tasks()))].sort()
  if (tasks.length === 1) return tasks[0]!
  const problem =
    tasks.length === 0 ? 'no windows to export' : `several tasks: name one of ${tasks.join(', ')} with --task`
  throw new FaultlineError(tasks.length === 0 ? 'ARCHIVE_FAILED' : 'CONFIG_INVALID', `the archives hold ${problem}`)
}

async function writeWindows(
  readers: readonly ArchiveReader[],
  task: string,
  draft: string,
  { humanOnly = false, seed }: ExportOptions,
): Promise<Export> {
  const windows: ExportedWindow[] = []
  const seen = new Set<string>()
  const manifests: Record<Side, object[]> = { train: [], validation: [], test: [] }
  let lost = 0
  const total = readers.reduce((sum, reader) => sum + reader.count(task), 0)
  const progress = new Progress('exporting', total)
  const table = await open(join(draft, 'windows.csv'), 'w')
  await table.write(csvLine(columns))
  for (const reader of readers)
    for (const window of reader.windows(task)) {
      const { id, site, device, point, machine, human, upstream, server } = window
      const key = createHash('sha256').update([site, device, point, id].join('/')).digest('hex').slice(0, 32)
      // Two server agents may have answered one that MQTT delivered twice.
      if (seen.has(key) || (humanOnly && !human)) continue
      seen.add(key)
      const label = (human ?? upstream ?? server).label
      const side = sideOf(site, machine, seed)
      const labelledBy = human ? 'human' : 'server'
      const hard = window.kept === 'windows' ? reader.read(window) : undefined
      if (window.kept === 'windows' && !hard) {
        lost++
        continue
      }
      const isImage = hard?.window?.rateHz === 0
      const file = hard && (isImage ? join(side, label, `${key}.raw`) : join(side, `${key}.f32`))
      if (isImage && !/^\w[\w .-]*$/.test(label))
        throw new FaultlineError('LABELS_INVALID', `${id}: the label "${label}" cannot be the name of a directory`)
      if (hard && file) {
        const bytes = await writeSamples(join(draft, file), hard)
        if (!isImage) manifests[side].push(manifestEntry(`${key}.f32`, bytes, hard, label, labelledBy))
      }
      const { features, ...rest } = window
      const exported: ExportedWindow = { side, window: rest, label, labelledBy, file }
      windows.push(exported)
      await table.write(lineOf(exported, features))
      progress.update(windows.length)
    }
  await table.close()
  progress.stop()
  for (const side of sides)
    if (manifests[side].length > 0) await writeJson(join(draft, side, 'manifest.json'), manifests[side])
  await writeJson(join(draft, datasetFile), descriptionOf(task, seed, windows))
  return { task, windows, lost }
}

/** Images as bytes, signals as float32 in their unit, little-endian. */
async function writeSamples(file: string, { window }: HardWindow): Promise<Buffer> {
  const { samples } = decodeWindow(window!)
  const bytes = Buffer.alloc(window!.rateHz === 0 ? samples.length : 4 * samples.length)
  for (const [i, sample] of samples.entries())
    if (window!.rateHz === 0) bytes.writeUInt8(Math.min(255, Math.max(0, Math.round(sample))), i)
    else bytes.writeFloatLE(sample, 4 * i)
  await mkdir(join(file, '..'), { recursive: true })
  await writeFile(file, bytes)
  return bytes
}

function manifestEntry(file: string, bytes: Buffer, hard: HardWindow, label: string, labelledBy: string): object {
  const { id, site, machine, point, at, shaftHz, bearing, window } = hard
  return {
    ...{ file, class: label, samplingRateHz: window!.rateHz, samples: bytes.byteLength / 4 },
    sha256: createHash('sha256').update(bytes).digest('hex'),
    ...(shaftHz !== undefined && { rpm: 60 * shaftHz }),
    ...(bearing && { bearing }),
    ...{ recordingGroup: `${site}/${machine}`, id, point, at, labelledBy },
  }
}

const columns = [
  ...['side', 'file', 'id', 'site', 'device', 'machine', 'point', 'at', 'receivedAt', 'reason'],
  ...['label', 'labelledBy', 'person', 'local', 'localConfidence', 'server', 'serverConfidence', 'serverModel'],
  ...['upstream', 'shadow', 'shadowModel', ...featureNames],
]

function lineOf({ side, file, label, labelledBy, window }: ExportedWindow, features: Record<string, number>): string {
  const { id, site, device, machine, point, at, receivedAt, reason, local, server, upstream, shadow, human } = window
  return csvLine([
    ...[side, file, id, site, device, machine, point, at, receivedAt, reason, label, labelledBy, human?.by],
    ...[local.label, local.confidence, server.label, server.confidence, server.model],
    ...[upstream?.label, shadow?.label, shadow?.model],
    ...featureNames.map(name => features[name]),
  ])
}

function descriptionOf(task: string, seed: number, windows: readonly ExportedWindow[]): object {
  const sideEntry = (side: Side) => {
    const here = windows.filter(window => window.side === side)
    const machines = new Set(here.map(({ window }) => `${window.site}/${window.machine}`))
    return { windows: here.filter(({ file }) => file).length, machines: [...machines].sort() }
  }
  return {
    ...{ format: 1, task, at: new Date().toISOString(), seed },
    classes: [...new Set(windows.map(({ label }) => label))].sort(),
    sides: Object.fromEntries(sides.map(side => [side, sideEntry(side)])),
  }
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, null, 1)}\n`)
}
