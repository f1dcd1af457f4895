import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { findProgram } from './programs.ts'

export interface Influxd {
  url: string
  /** Stops the server; its data stay until the test ends. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
  /** Starts it again, on the same port and data. */
  start(): Promise<void>
}

/** Starts an InfluxDB 1.x server on a free port of loopback, with a directory of its own; both go with the test. */
export async function startInfluxd(
  t: { after(clean: () => Promise<void>): void },
  { authentication = false, continuousQueries = false } = {},
): Promise<Influxd> {
  const directory = await mkdtemp(join(tmpdir(), 'faultline-influxd-'))
  let running: ChildProcess | undefined
  let port = 0

  const start = async () => {
    const config = join(directory, 'influxdb.conf')
    await writeFile(config, configuration(directory, port, authentication, continuousQueries))
    const child = spawn(findProgram('influxd')!, ['run', '-config', config], { stdio: ['ignore', 'ignore', 'pipe'] })
    running = child
    port = await listeningPort(child)
    await untilAnswering(`http://127.0.0.1:${port}/ping`)
  }
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    const child = running
    running = undefined
    if (!child || child.exitCode !== null) return
    child.kill(signal)
    await once(child, 'exit')
  }
  t.after(async () => {
    await stop()
    await rm(directory, { recursive: true, force: true, maxRetries: 3 })
  })
  await start()
  return { url: `http://127.0.0.1:${port}`, start, stop }
}

const configuration = (
  directory: string,
  port: number,
  authentication: boolean,
  continuousQueries: boolean,
): string => `
reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
  dir = "${directory}/meta"
[data]
  dir = "${directory}/data"
  wal-dir = "${directory}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:${port}"
  auth-enabled = ${authentication}
  log-enabled = false
[continuous_queries]
  enabled = ${continuousQueries}
  run-interval = "1s"
  log-enabled = false
`

/** influxd logs the address it was given by the system, so port 0 needs no guessing. */
async function listeningPort(child: ChildProcess): Promise<number> {
  const lines: string[] = []
  for await (const line of createInterface({ input: child.stderr! })) {
    lines.push(line)
    const match = /Listening on HTTP.*addr=127\.0\.0\.1:(\d+)/.exec(line)
    if (!match) continue
    // Whatever it logs from now on must be read away, or the pipe would fill.
    child.stderr!.resume()
    return Number(match[1])
  }
  throw new Error(`influxd did not start:\n${lines.slice(-10).join('\n')}`)
}

async function untilAnswering(url: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const response = await fetch(url).catch(() => undefined)
    if (response?.ok) return
    await pause(50)
  }
  throw new Error('influxd does not answer')
}
