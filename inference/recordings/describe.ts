import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { classIn, type Described, type Layout, type LayoutFile, layouts, vibrationsOf } from './layouts.ts'
import type { ManifestEntry } from './manifest-entry.ts'
import { unlabelled } from './recording.ts'
import { openRecordingFile } from './recording-file.ts'
import type { SignalFile } from './signal-file.ts'
import { recordingNames } from './snapshots.ts'

/** What is known of all files of a directory and does not stand in them. */
export interface DescribeOptions {
  rateHz?: number
  rpm?: number
  unit?: string
  column?: string | number
  variable?: string
}

export interface Description {
  entries: ManifestEntry[]
  /** What was guessed, and from what. */
  guesses: string[]
  /** Files that are no recordings, and why. */
  passedOver: string[]
}

/** Directories inside one another that are looked into. */
const maxDepth = 8

/**
 * Describes the recordings in a directory and those inside it: what they are from their contents, what is not in them from
 * the options, from the layouts of published data sets, and from the names of files and directories.
 * Throws `RECORDING_UNREADABLE`, or `RECORDING_INVALID` where the rate of a file is not known.
 */
export async function describeDirectory(directory: string, options: DescribeOptions = {}): Promise<Description> {
  const description: Description = { entries: [], guesses: [], passedOver: [] }
  const rateless: string[] = []
  for (const inside of await directoriesIn(directory, '', maxDepth))
    await describeOne({ directory, inside, options, description, rateless })
  if (rateless.length > 0)
    throw new FaultlineError(
      'RECORDING_INVALID',
      `${directory}: no sampling rate is in ${rateless.slice(0, 3).join(', ')}${rateless.length > 3 ? `, and ${rateless.length - 3} more` : ''}; give it with --rate-hz`,
    )
  if (description.entries.length === 0)
    throw new FaultlineError(
      'RECORDING_UNREADABLE',
      [`${directory} holds no recordings`, ...description.passedOver.slice(0, 3)].join('; '),
    )
  return description
}

async function directoriesIn(directory: string, inside: string, depth: number): Promise<string[]> {
  const entries = await readdir(join(directory, inside), { withFileTypes: true }).catch(cause => {
    throw toFaultlineError(cause, 'RECORDING_UNREADABLE', join(directory, inside))
  })
  const deeper = depth === 0 ? [] : entries.filter(entry => entry.isDirectory() && !entry.name.startsWith('.'))
  const names = deeper.map(({ name }) => (inside === '' ? name : `${inside}/${name}`)).sort()
  return [inside, ...(await Promise.all(names.map(name => directoriesIn(directory, name, depth - 1)))).flat()]
}

interface Place {
  directory: string
  inside: string
  options: DescribeOptions
  description: Description
  rateless: string[]
}

async function describeOne(place: Place): Promise<void> {
  const { directory, inside, options, description } = place
  const runs = new Map<Layout, { first: LayoutFile; names: string[]; samples: number }>()
  const others: { file: LayoutFile; layout: Layout | undefined }[] = []
  for (const name of await recordingNames(join(directory, inside))) {
    const path = inside === '' ? name : `${inside}/${name}`
    const opened = await open(join(directory, path), options).catch((cause: Error) => {
      description.passedOver.push(cause.message)
    })
    if (!opened) continue
    const file: LayoutFile = { path, name, opened }
    const layout = layouts.find(({ matches }) => matches(file))
    if (!layout?.snapshots) others.push({ file, layout })
    else {
      const run = runs.get(layout) ?? { first: file, names: [], samples: 0 }
      run.names.push(name)
      run.samples += opened.signals[0]?.samples ?? 0
      runs.set(layout, run)
    }
  }
  for (const [layout, run] of runs) addRun(place, layout, run)
  // Temperatures beside the snapshots of PRONOSTIA, for one, are no recordings.
  for (const { file, layout } of others)
    if (runs.size === 0) addFile(place, file, layout)
    else description.passedOver.push(`${file.path} is not one of the snapshots beside it`)
}

const open = (path: string, { variable }: DescribeOptions): Promise<SignalFile> =>
  openRecordingFile(path, variable === undefined ? {} : { variable })

function addFile(place: Place, file: LayoutFile, layout: Layout | undefined): void {
  const known = layout?.describe(file) ?? {}
  addEntries(place, file, known, { file: file.path })
  if (layout) tell(place, file.path, layout, known, file.opened)
}

function addRun(
  place: Place,
  layout: Layout,
  { first, names, samples }: { first: LayoutFile; names: readonly string[]; samples: number },
): void {
  const known = layout.describe(first)
  const { inside } = place
  const snapshotSamples = first.opened.signals[0]!.samples
  const pattern = first.name.toLowerCase().startsWith('acc_') ? 'acc_*.csv' : '*'
  const file = inside === '' ? pattern : `${inside}/${pattern}`
  const run = inside === '' ? 'run' : inside.replaceAll('/', '-')
  const snapshotIntervalS = known.snapshotIntervalS ?? intervalIn(names)
  addEntries(place, first, known, {
    file,
    run,
    machine: run,
    samples,
    // Snapshots of different lengths have their gaps where the files end.
    ...(samples === snapshotSamples * names.length && { snapshotSamples }),
    ...(snapshotIntervalS !== undefined && { snapshotIntervalS }),
  })
  tell(place, file, layout, known, first.opened)
}

/** The usual time between snapshots whose names are times: 2004.02.12.10.32.39. */
function intervalIn(names: readonly string[]): number | undefined {
  const times = names.map(name =>
    Date.parse(name.replace(/^(\d+)\.(\d+)\.(\d+)\.(\d+)\.(\d+)\.(\d+)$/, '$1-$2-$3T$4:$5:$6Z')),
  )
  const steps = times.slice(1).map((time, i) => (time - times[i]!) / 1_000)
  const median = steps.sort((a, b) => a - b)[steps.length >> 1]
  return median !== undefined && median > 0 ? median : undefined
}

type Own = Partial<ManifestEntry> & { file: string }

function addEntries({ options, description, rateless }: Place, file: LayoutFile, known: Described, own: Own): void {
  const { opened } = file
  const samplingRateHz = opened.rateHz ?? options.rateHz ?? known.samplingRateHz
  if (samplingRateHz === undefined) {
    rateless.push(file.path)
    return
  }
  const wanted = vibrationsOf(opened, known).filter(
    ({ signal, name }) =>
      options.column === undefined || [signal.name, String(signal.index), name].includes(String(options.column)),
  )
  const label = classIn(file.path)
  const rpm = options.rpm ?? known.rpm
  for (const { signal } of wanted) {
    const unit = options.unit ?? signal.unit ?? known.unit
    description.entries.push({
      ...(opened.signals.length > 1 && { column: signal.index }),
      ...(options.variable !== undefined && opened.format === 'mat' && { variable: options.variable }),
      ...(label !== unlabelled && { class: label }),
      ...(rpm !== undefined && { rpm }),
      samplingRateHz,
      samples: signal.samples,
      ...(unit !== undefined && { unit }),
      ...(known.bearing !== undefined && { bearing: known.bearing }),
      ...(known.orders && { orders: known.orders }),
      // Columns of one file were recorded at one time.
      recordingGroup: own.run ?? file.path,
      ...own,
    })
  }
  if (wanted.length === 0) description.passedOver.push(`${file.path} has no such column`)
  if (label !== unlabelled) description.guesses.push(`${own.file}: class ${label}, from its path`)
}

function tell(
  { options, description }: Place,
  path: string,
  layout: Layout,
  known: Described,
  opened: SignalFile,
): void {
  const said: string[] = []
  if (opened.rateHz === undefined && options.rateHz === undefined) said.push(`${known.samplingRateHz} Hz`)
  if (options.rpm === undefined && known.rpm !== undefined) said.push(`${known.rpm} rpm`)
  if (options.unit === undefined && known.unit !== undefined) said.push(`unit ${known.unit}`)
  if (known.bearing !== undefined) said.push(`bearing ${known.bearing}`)
  const columns = vibrationsOf(opened, known).map(({ signal, name }) => `${signal.index} ${name}`)
  description.guesses.push(
    `${path}: layout of ${layout.name}: ${[...said, `columns ${columns.join(', ')}`].join(', ')}`,
  )
}
