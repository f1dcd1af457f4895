import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { DeviceStatus } from '../status-page/status-board.ts'

/** As the installer names them. */
export const unit = 'faultline-device-agent'
export const configFile = '/etc/faultline/device.yaml'
export const statusUrl = 'http://127.0.0.1:8180/'

const run = promisify(execFile)

/** What systemd says of the unit, by property; undefined where there is no systemd to ask. */
export async function unitProperties(...names: string[]): Promise<Record<string, string> | undefined> {
  try {
    const { stdout } = await run('systemctl', ['show', unit, `--property=${names.join(',')}`])
    const lines = stdout.trim().split('\n')
    return Object.fromEntries(lines.map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]))
  } catch {
    return undefined
  }
}

/** What the agent says of itself on its status page; undefined when it does not answer. */
export async function deviceStatus(url: string): Promise<DeviceStatus | undefined> {
  try {
    const response = await fetch(new URL('status.json', url), { signal: AbortSignal.timeout(5_000) })
    return response.ok ? ((await response.json()) as { device: DeviceStatus }).device : undefined
  } catch {
    return undefined
  }
}
