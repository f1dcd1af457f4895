import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import {
  checkOutput,
  createLogger,
  fromCaller,
  lastResortFor,
  runProgram,
  terminationSignal,
  version,
  writeJson,
} from '@faultline/runtime'
import { type Flags, fleetProgram } from './command-line.ts'
import { Fleet } from './fleet.ts'
import type { FleetSummary } from './scoreboard.ts'
import { formatBytes, percent, Screen } from './screen.ts'

const program = fleetProgram().action(run)

async function run(flags: Flags): Promise<void> {
  const directory = fromCaller(flags.directory)
  const summaryFile = flags.summary && fromCaller(flags.summary)
  const source = flags.source === 'simulated' ? flags.source : fromCaller(flags.source)
  await checkOutput(summaryFile)
  await makePrivate(directory)
  const logger = createLogger('fleet', { file: join(directory, 'fleet.log') })
  const ports = { mqtt: flags.port, webSocket: flags.wsPort, http: flags.httpPort }
  const fleet = new Fleet({ ...flags, source, directory, ports }, logger)
  const ended = new AbortController()
  const ending = terminationSignal(ended.signal)
  let started = false
  ending.then(
    signal => signal && !started && say('\nstopping, once everything has started …'),
    () => {}, // It is awaited below.
  )
  lastResortFor({ logger, stop: () => fleet.stop() })
  say(`Faultline ${version}: starting ${flags.devices} ${source === 'simulated' ? 'simulated' : 'replayed'} machines …`)
  try {
    await fleet.start()
  } catch (error) {
    await fleet.stop().catch(() => {}) // The reason to report is why it did not start.
    throw error
  }
  started = true
  say(fleet.describe())
  const screen = new Screen(process.stdout, () => fleet.status())
  screen.start()
  const timer = flags.duration === undefined ? undefined : setTimeout(() => ended.abort(), flags.duration * 1_000)
  const signal = await ending
  clearTimeout(timer)
  screen.stop()
  if (signal) say('\nstopping …')
  await fleet.stop()
  const summary = fleet.summary()
  say(`\n${describe(summary)}`)
  await writeJson(summaryFile, summary)
  process.exit() // Node-RED keeps a timer of a week for everybody who logged in to its editor.
}

/** Databases and logs are the business of whoever runs the fleet. */
async function makePrivate(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new FaultlineError('CONFIG_INVALID', `--directory: ${(cause as Error).message}`, { cause })
  }
}

function describe(summary: FleetSummary): string {
  const { windows, accepted, answered, late, rejected, offline, withheld, pending, accuracy } = summary
  const share = (value: number | null) => (value === null ? '–' : `${(100 * value).toFixed(1)} %`)
  return [
    `${windows} windows = ${accepted} accepted + ${answered} answered + ${late} late + ${rejected} rejected + ${offline} offline + ${withheld} withheld + ${pending} pending`,
    `right: ${share(accuracy.local)} of the local answers, ${share(accuracy.final)} of the final ones`,
    `${formatBytes(summary.bytesSent)} sent; ${formatBytes(summary.bytesIfAllEscalated)} had every window been escalated (${percent(summary.bytesIfAllEscalated - summary.bytesSent, summary.bytesIfAllEscalated)} saved)`,
    `${summary.alarmsRaised} alarm${summary.alarmsRaised === 1 ? '' : 's'} raised, ${summary.falseAlarms} of them on a healthy machine`,
  ].join('\n')
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

await runProgram(program)
