import { execFileSync } from 'node:child_process'
import { readFileSync, statfsSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { errorCodes } from '@faultline/protocol'
import { inspectStore, loadConfig, readCertificate } from '@faultline/runtime'
import { type DeviceAgentConfig, deviceAgentConfig } from '../config.ts'
import { clockSynchronised } from '../reports/clock.ts'
import { agentDatabase } from '../spool/storage.ts'
import { configFile, deviceStatus, statusUrl, unit, unitProperties } from './installation.ts'

/** What one check found; `remedy` where something should be done. */
export interface Finding {
  check: string
  verdict: 'ok' | 'warning' | 'fault'
  what: string
  remedy?: string
}

type Check = (config: DeviceAgentConfig | undefined) => Promise<Finding> | Finding

const ok = (check: string, what: string): Finding => ({ check, verdict: 'ok', what })
const warning = (check: string, what: string, remedy: string): Finding => ({ check, verdict: 'warning', what, remedy })
const fault = (check: string, what: string, remedy: string): Finding => ({ check, verdict: 'fault', what, remedy })

const DAY_MS = 86_400_000
/** The spool, its bound and an update have room with this. */
const ENOUGH_BYTES = 500e6
/** Below this the processor of a Raspberry Pi is slowed down: 80 °C. */
const HOT_C = 80

/** All checks, in the order in which one explains the next. */
export async function findings(file = configFile, url = statusUrl): Promise<Finding[]> {
  let config: DeviceAgentConfig | undefined
  let reading: Finding
  try {
    config = await loadConfig(deviceAgentConfig, file)
    reading = ok('configuration', `${file} is valid`)
  } catch (error) {
    reading = fault('configuration', (error as Error).message, 'run as root (sudo) to read it; correct what is named')
  }
  const checks: Check[] = [
    service,
    memoryLimit,
    agentOf(url),
    clock,
    broker,
    certificate,
    disk,
    store,
    temperature,
    power,
  ]
  const found = [reading]
  for (const check of checks) found.push(await check(config))
  return [...found, ...(await problemsOf(url))]
}

/** What the agent says is wrong with the device itself. */
async function problemsOf(url: string): Promise<Finding[]> {
  // An agent of an earlier version names none.
  const { problems = [] } = (await deviceStatus(url)) ?? {}
  return problems.map(({ code, message, since }) => {
    const remedy = Object.hasOwn(errorCodes, code)
      ? errorCodes[code as keyof typeof errorCodes].remedy
      : 'faultline-device logs'
    return fault('problem', `${code}: ${message}; since ${since}`, remedy)
  })
}

async function service(): Promise<Finding> {
  const properties = await unitProperties('ActiveState', 'NRestarts', 'Result', 'UnitFileState')
  if (!properties?.ActiveState) return fault('service', 'systemd does not answer', 'is this the device itself?')
  const { ActiveState, NRestarts, Result, UnitFileState } = properties
  if (ActiveState !== 'active')
    return fault('service', `${ActiveState}, ${Result}`, `faultline-device logs; sudo systemctl start ${unit}`)
  if (UnitFileState !== 'enabled')
    return warning('service', 'runs, but not after the next boot', `sudo systemctl enable ${unit}`)
  if (Number(NRestarts) > 0)
    return warning('service', `runs; systemd had to start it again ${NRestarts} times`, 'faultline-device logs')
  return ok('service', 'runs')
}

/** Raspberry Pi OS boots without the memory controller, and systemd then passes over MemoryMax. */
function memoryLimit(): Finding {
  const controllers = text('/sys/fs/cgroup/cgroup.controllers')
  if (controllers === undefined || controllers.split(/\s+/).includes('memory'))
    return ok('memory limit', 'the kernel enforces it')
  return warning(
    'memory limit',
    'the kernel does not enforce it',
    'add cgroup_enable=memory to the line in /boot/firmware/cmdline.txt, and reboot',
  )
}

function agentOf(url: string): Check {
  return async config => {
    const status = await deviceStatus(url)
    if (!status && config && !config.statusPage)
      return warning('agent', 'its status page is off', 'add statusPage: {} to the configuration')
    if (!status) return fault('agent', `does not answer at ${url}`, 'faultline-device logs')
    const silent = status.points.filter(({ label }) => label === undefined).map(({ point }) => point)
    if (silent.length > 0) return warning('agent', `no window yet from ${silent.join(', ')}`, 'check these sources')
    if (!status.online) return warning('agent', 'is not connected to the broker', 'see the check of the broker')
    return ok('agent', `connected; ${status.model.name} on ${status.model.engine}`)
  }
}

function clock(): Finding {
  if (clockSynchronised()) return ok('clock', 'synchronised')
  return warning('clock', 'not synchronised', 'timedatectl; certificates are not accepted while it is years off')
}

async function broker(config: DeviceAgentConfig | undefined): Promise<Finding> {
  if (!config) return warning('broker', 'not checked', 'the configuration comes first')
  const { hostname, port, protocol } = new URL(config.broker.url)
  const usual = { 'mqtt:': 1883, 'mqtts:': 8883, 'ws:': 80, 'wss:': 443 }[protocol]
  const address = { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port) || usual! }
  const problem = await new Promise<string | undefined>(resolve => {
    const socket = createConnection({ ...address, timeout: 5_000 })
    const done = (reason?: string) => {
      socket.destroy()
      resolve(reason)
    }
    socket.on('connect', () => done())
    socket.on('timeout', () => done('no answer within 5 s'))
    socket.on('error', error => done((error as NodeJS.ErrnoException).code ?? error.message))
  })
  const where = `${address.host}:${address.port}`
  if (problem) return fault('broker', `${where}: ${problem}`, 'check the network, the name, and that the broker runs')
  return ok('broker', `${where} takes connections`)
}

function certificate(config: DeviceAgentConfig | undefined): Finding {
  const path = config?.broker.certificate
  if (!path) return ok('certificate', 'none is used')
  const pem = text(path)
  if (pem === undefined)
    return fault(
      'certificate',
      `${path} cannot be read`,
      'run as root (sudo); the first one is fetched from enrolment.url',
    )
  try {
    const { notAfter } = readCertificate(pem)
    const days = Math.floor((notAfter.getTime() - Date.now()) / DAY_MS)
    if (days < 0) return fault('certificate', `ended on ${day(notAfter)}`, 'it has to be enrolled again')
    if (days < 14) return warning('certificate', `ends in ${days} days`, 'is the provisioning service reachable?')
    return ok('certificate', `good until ${day(notAfter)}`)
  } catch (error) {
    return fault('certificate', (error as Error).message, 'it has to be enrolled again')
  }
}

function disk(config: DeviceAgentConfig | undefined): Finding {
  const directory = config?.dataDirectory ?? '/'
  try {
    const { bavail, bsize } = statfsSync(directory)
    const what = `${((bavail * bsize) / 1e9).toFixed(1)} GB free at ${directory}`
    return bavail * bsize < ENOUGH_BYTES
      ? warning('disk', what, 'make room: the spool has little left')
      : ok('disk', what)
  } catch (error) {
    return warning('disk', (error as Error).message, 'run as root (sudo)')
  }
}

/** The database of the agent, which may be running. */
function store(config: DeviceAgentConfig | undefined): Finding {
  if (!config) return warning('store', 'not checked', 'the configuration comes first')
  const {
    path,
    bytes,
    counts,
    fault: found,
    setAside,
  } = inspectStore(join(config.dataDirectory, 'agent.db'), [agentDatabase])
  if (found !== undefined) return fault('store', found, 'faultline-device logs; the agent sets a damaged file aside')
  const what = `${path}: whole; ${bytes} bytes, ${counts['spooled messages'] ?? 0} spooled messages`
  if (setAside.length === 0) return ok('store', what)
  return warning('store', `${what}; damaged before: ${setAside.join(', ')}`, 'check the disk, then delete these files')
}

function temperature(): Finding {
  const millidegrees = text('/sys/class/thermal/thermal_zone0/temp')
  if (millidegrees === undefined) return ok('temperature', 'no sensor')
  const what = `${(Number(millidegrees) / 1_000).toFixed(0)} °C`
  return Number(millidegrees) / 1_000 < HOT_C
    ? ok('temperature', what)
    : warning('temperature', what, 'cool it: the processor is slowed down from 80 °C')
}

/** Of the firmware: bit 0 is under-voltage now, bit 16 since boot. */
function power(): Finding {
  try {
    const answer = execFileSync('vcgencmd', ['get_throttled'], { encoding: 'utf8', stdio: 'pipe' })
    const bits = Number(answer.split('=')[1])
    if ((bits & 0x1_0001) === 0) return ok('power', 'steady')
    return warning('power', 'the voltage is or was too low', 'use the supply made for this Raspberry Pi')
  } catch {
    return ok('power', 'not a Raspberry Pi, or its firmware does not say')
  }
}

const day = (time: Date): string => time.toISOString().slice(0, 10)

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
