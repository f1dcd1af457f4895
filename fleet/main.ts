import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createLogger, runProgram, terminationSignal, version } from '@faultline/runtime'
import { type Flags, fleetProgram } from './command-line.ts'
import { Fleet } from './fleet.ts'
import type { FleetSummary } from './scoreboard.ts'
import { formatBytes, percent, Screen } from './screen.ts'

const program = fleetProgram().action(run)

async function run(flags: Flags): Promise<void> {
  const directory = resolve(flags.directory)
  const logger = createLogger('fleet', { file: `${directory}/fleet.log` })
  const fleet = new Fleet(
    { ...flags, directory, ports: { mqtt: flags.port, webSocket: flags.wsPort, http: flags.httpPort } },
    logger,
  )
  const stopped = new AbortController()
  const signal = terminationSignal(stopped.signal)
  say(
    `Faultline ${version}: starting ${flags.devices} ${flags.source === 'simulated' ? 'simulated' : 'replayed'} machines …`,
  )
  try {
    await fleet.start()
  } catch (error) {
    stopped.abort()
    await fleet.stop().catch(() => {}) // The reason to report is why it did not start.
    throw error
  }
  say(fleet.describe())
  const screen = new Screen(process.stdout, () => fleet.status())
  screen.start()
  const timer = flags.duration === undefined ? undefined : setTimeout(() => stopped.abort(), flags.duration * 1_000)
  await signal
  clearTimeout(timer)
  await fleet.stop()
  screen.stop()
  const summary = fleet.summary()
  say(`\n${describe(summary)}`)
  if (flags.summary) await writeFile(flags.summary, `${JSON.stringify(summary, null, 2)}\n`)
  process.exit() // Node-RED keeps a timer of a week for everybody who logged in to its editor.
}

function describe(summary: FleetSummary): string {
  const { windows, accepted, answered, late, rejected, offline, pending, accuracy } = summary
  const share = (value: number | null) => (value === null ? '–' : `${(100 * value).toFixed(1)} %`)
  return [
    `${windows} windows = ${accepted} accepted + ${answered} answered + ${late} late + ${rejected} rejected + ${offline} offline + ${pending} pending`,
    `right: ${share(accuracy.local)} of the local answers, ${share(accuracy.final)} of the final ones`,
    `${formatBytes(summary.bytesSent)} sent; ${formatBytes(summary.bytesIfAllEscalated)} had every window been escalated (${percent(summary.bytesIfAllEscalated - summary.bytesSent, summary.bytesIfAllEscalated)} saved)`,
    `${summary.alarmsRaised} alarms raised, ${summary.falseAlarms} of them on a healthy machine`,
  ].join('\n')
}

const say = (text: string): void => void process.stdout.write(`${text}\n`)

await runProgram(program)
