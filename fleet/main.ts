import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import {
  createLogger,
  createProgram,
  parseInteger,
  parsePositive,
  runProgram,
  terminationSignal,
  version,
} from '@faultline/runtime'
import { Fleet } from './fleet.ts'
import { defaultOptions, type FleetOptions } from './options.ts'
import type { FleetSummary } from './scoreboard.ts'
import { formatBytes, percent, Screen } from './screen.ts'

type Flags = Omit<FleetOptions, 'ports'> & { port: number; wsPort: number; httpPort: number }

const port = parseInteger(0, 65_535)

const program = createProgram(
  'npm start --',
  'Runs a whole fleet on this machine: broker, agents, recorder, Node-RED and machines.',
)
  .version(version)
  .option('--devices <n>', 'machines, each with a device agent beside it', parseInteger(1, 200), defaultOptions.devices)
  .option('--duration <seconds>', 'end by itself after so long', parsePositive)
  .option(
    '--source <simulated|dir>',
    'simulated machines, or a directory of recordings to replay',
    defaultOptions.source,
  )
  .option('--speed <factor>', 'windows per second relative to real time', parsePositive, defaultOptions.speed)
  .option('--policy <name>', 'how the agents decide what to escalate', defaultOptions.policy)
  .option('--summary <file>', 'write the final counters as JSON')
  .option('--influx <url>', 'store telemetry in InfluxDB rather than in the embedded database')
  .option('--directory <dir>', 'identities, databases and logs', defaultOptions.directory)
  .option('--port <port>', 'MQTT over TCP; 0 takes any free port', port, defaultOptions.ports.mqtt)
  .option('--ws-port <port>', 'MQTT over WebSocket', port, defaultOptions.ports.webSocket)
  .option('--http-port <port>', 'dashboard and Node-RED editor', port, defaultOptions.ports.http)
  .option('--seed <n>', 'seed of the simulated machines and the audits', parseInteger(0), defaultOptions.seed)
  .option('--no-flows', 'leave Node-RED out: no dashboard and no alarms')
  .allowExcessArguments(false)
  .action(run)

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
