import type { Command } from '@faultline/runtime'
import type { DeviceStatus } from '../status-page/status-board.ts'
import { deviceStatus, statusUrl, unit, unitProperties } from './installation.ts'

export function addStatus(program: Command): void {
  program
    .command('status')
    .description('whether the agent runs and is connected, what it sees, what waits to be sent')
    .option('--url <url>', 'its status page', statusUrl)
    .action(async ({ url }: { url: string }) => {
      const service = (await unitProperties('ActiveState', 'SubState')) ?? {}
      const status = await deviceStatus(url)
      const state = service.ActiveState ? `${service.ActiveState} (${service.SubState})` : 'systemd does not answer'
      process.stdout.write(`${[line('service', state), ...describe(status, url)].join('\n')}\n`)
      if (!status) process.exitCode = 1
    })
}

function describe(status: DeviceStatus | undefined, url: string): string[] {
  if (!status) {
    return [
      line('agent', `does not answer at ${url}`),
      `It may be starting, or its configuration has no statusPage: faultline-device logs, journalctl -u ${unit}`,
    ]
  }
  // An agent of an earlier version names none.
  const { health, model, points, problems = [] } = status
  const width = Math.max(...points.map(({ point }) => point.length))
  return [
    line('device', `${status.site}/${status.device}`),
    line('broker', status.online ? 'connected' : 'not connected; windows are judged here, messages wait'),
    ...problems.map(({ code, message }) => line('problem', `${code}: ${message}`)),
    line('model', `${model.name} ${model.version} on ${model.engine}`),
    ...(health
      ? [
          line('running for', duration(health.uptimeS)),
          line('windows', `${health.counters.windows}, ${health.errors} errors`),
          line('waiting', `${health.queues.spool} to send, ${health.queues.pending} for a verdict`),
          line('memory', `${(health.memoryBytes / 1e6).toFixed(0)} MB`),
        ]
      : []),
    ...points.map(({ point, machine, label, confidence }) => {
      const sure = confidence == null ? '' : ` (${(confidence * 100).toFixed(0)} %)`
      return line('point', `${point.padEnd(width)}  on ${machine}: ${label ?? 'no window yet'}${sure}`)
    }),
  ]
}

const line = (name: string, value: string): string => `${name.padEnd(12)}${value}`

export function duration(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} days`
}
