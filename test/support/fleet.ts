import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { startMosquitto, usualBroker } from './mosquitto.ts'
import { type RunningProgram, startScript } from './processes.ts'
import { temporaryDirectory } from './temp.ts'

export interface RunningFleet {
  program: RunningProgram
  directory: string
  mqttPort: number
  dashboardUrl: string
  /** Who may log in to the dashboard; empty without one. */
  admin: { name: string; password: string }
  /** Credentials of the fleet's operator. */
  operator: { username: string; password: string }
  summary(): Promise<Summary>
}

export interface Summary {
  windows: number
  accepted: number
  answered: number
  late: number
  rejected: number
  offline: number
  withheld: number
  pending: number
  audits: number
  alarmsRaised: number
  falseAlarms: number
  bytesSent: number
  bytesIfAllEscalated: number
  accuracy: { local: number; final: number }
  machines: { machine: string; truth: string; windows: number; alarms: string[] }[]
}

/** Starts `npm start`'s program on free ports in a directory of its own, over the broker that tests run over, and waits until it shows its addresses. */
export async function startFleet(t: TestContext, args: readonly string[]): Promise<RunningFleet> {
  const directory = await temporaryDirectory(t)
  const file = join(directory, 'summary.json')
  const ports = ['--port', '0', '--ws-port', '0', '--http-port', '0']
  const broker = usualBroker === 'mosquitto' ? ['--broker', (await startMosquitto(t)).url] : []
  const program = startScript(t, 'fleet/main.ts', [
    '--directory',
    directory,
    '--summary',
    file,
    ...ports,
    ...broker,
    ...args,
  ])
  const [, mqttPort] = await program.said(/mqtt:\/\/127\.0\.0\.1:(\d+)/)
  const [, username, password] = await program.said(/-u (\S+) -P (\S+)/)
  const [, name = '', adminPassword = ''] = /log in as\s+(\S+) with (\S+)/.exec(program.output) ?? []
  const dashboard = /http:\/\/\S+\/dashboard\S*/.exec(program.output)
  return {
    program,
    directory,
    mqttPort: Number(mqttPort),
    dashboardUrl: dashboard?.[0] ?? '',
    admin: { name, password: adminPassword },
    operator: { username: username!, password: password! },
    summary: async () => JSON.parse(await readFile(file, 'utf8')) as Summary,
  }
}

/** The sum that counters always keep. */
export const sumOfOutcomes = (summary: Summary): number =>
  summary.accepted +
  summary.answered +
  summary.late +
  summary.rejected +
  summary.offline +
  summary.withheld +
  summary.pending
