import { statSync } from 'node:fs'
import { join } from 'node:path'
import { loadBundle } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { type Command, checkOutput, InvalidArgumentError, Progress, parseInteger, writeJson } from '@faultline/runtime'
import { createStore, type Place, type StoreSettings } from '@faultline/telemetry'
import { parsePrices } from '../trace/command.ts'
import { figuresOf, replayTable } from './figures.ts'
import { type ReplayOptions, type ReplayPolicy, replayablePolicies, replayHistory } from './replay.ts'

interface Flags extends Place {
  store: string
  database: string
  since: number
  until?: number
  policy: ReplayPolicy[]
  price?: number[]
  normal: string
  model?: string
  seed: number
  json?: string
}

/** What `npm start` calls its store. */
const fleetFile = 'telemetry.db'

/** Adds `replay`: what other policies would have sent, missed and cost on windows that were recorded. */
export function addReplayCommand(program: Command): void {
  program
    .command('replay')
    .description('what another policy would have sent, missed and cost on recorded telemetry')
    .requiredOption('--store <place>', 'SQLite file, directory of `npm start`, or address of InfluxDB')
    .option('--database <name>', 'of InfluxDB', 'faultline')
    .option('--since <time>', 'ISO 8601, or an age such as 30d, 12h, 90m', parseTime, Date.now() - 30 * dayMs)
    .option('--until <time>', 'the same; now when absent', parseTime)
    .option(
      '--policy <names>',
      `all, or with commas between: ${replayablePolicies.join(', ')}; parameters follow colons: threshold:threshold=0.9`,
      parsePolicies,
      parsePolicies('all'),
    )
    .option('--price <numbers>', 'in the place of the prices on record, with commas between', parsePrices)
    .option('--normal <class>', 'the class that means nothing is wrong', 'normal')
    .option('--model <directory>', 'bundle of the local model: threshold, calibration')
    .option('--site <name>', 'only this site')
    .option('--machine <name>', 'only this machine')
    .option('--device <name>', 'only this device')
    .option('--seed <number>', 'of policies that draw lots', parseInteger(0), 1)
    .option('--json <file>', 'write every figure there too')
    .action(run)
}

async function run({ store: place, database, policy, price, model, json, ...flags }: Flags): Promise<void> {
  const until = flags.until ?? Date.now()
  if (until <= flags.since)
    throw new FaultlineError('CONFIG_INVALID', `--until ${iso(until)} is not after --since ${iso(flags.since)}`)
  await checkOutput(json)
  const bundle = model === undefined ? undefined : (await loadBundle(model)).description
  const store = createStore(settingsOf(place, database), { readOnly: true })
  await store.start()
  let progress: Progress | undefined
  try {
    const options: ReplayOptions = { ...flags, until, policies: policy, prices: price, bundle }
    options.onProgress = (done, total) => {
      progress ??= new Progress('replaying', total)
      progress.update(done)
    }
    const replay = await replayHistory(store, options)
    progress?.stop()
    process.stdout.write(replayTable(replay, options))
    const { windows, summarised } = replay
    const about = { store: store.name, since: iso(flags.since), until: iso(until), normal: flags.normal }
    await writeJson(json, { ...about, windows, summarised, rows: figuresOf(replay) })
  } finally {
    progress?.stop()
    await store.stop()
  }
}

function settingsOf(place: string, database: string): StoreSettings {
  if (/^https?:\/\//.test(place)) return { kind: 'influx', url: place, database }
  const isDirectory = statSync(place, { throwIfNoEntry: false })?.isDirectory()
  return { kind: 'sqlite', path: isDirectory ? join(place, fleetFile) : place }
}

const dayMs = 86_400_000
const unitsMs: Record<string, number> = { m: 60_000, h: 3_600_000, d: dayMs }

const iso = (time: number): string => new Date(time).toISOString()

function parseTime(text: string): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?)([mhd])$/.exec(text) ?? []
  const time = unit === undefined ? Date.parse(text) : Date.now() - Number(count) * unitsMs[unit]!
  if (/^(\d{4}-|\d+(\.\d+)?[mhd]$)/.test(text) && time >= 0) return time
  throw new InvalidArgumentError('Give a time such as 2026-03-01 or 2026-03-01T08:00:00Z, or an age such as 30d.')
}

/** `name` or `name:parameter=value:parameter=value`, with commas between. */
function parsePolicies(text: string): ReplayPolicy[] {
  const titles = text.split(',').flatMap(title => (title.trim() === 'all' ? replayablePolicies : [title.trim()]))
  return [...new Set(titles)].map(title => {
    const [name = '', ...parts] = title.split(':')
    if (parts.length === 0) return { name, title }
    const parameters = parts.map(part => {
      const [key, value, more] = part.split('=')
      if (!key || value === undefined || more !== undefined)
        throw new InvalidArgumentError(`"${part}" is not like parameter=value.`)
      return [key, value !== '' && Number.isFinite(Number(value)) ? Number(value) : value]
    })
    return { name, title, parameters: Object.fromEntries(parameters) as Record<string, unknown> }
  })
}
