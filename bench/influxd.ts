import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { FaultlineError } from '@faultline/protocol'

/** An InfluxDB 1 of its own for a benchmark, on a free port of loopback, with its data in `directory`. */
export async function startInfluxd(directory: string): Promise<{ url: string; stop(): Promise<void> }> {
  const child = spawn('influxd', ['run', '-config', '/dev/null'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      // Debian puts servers into sbin.
      PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin`,
      HOME: directory,
      INFLUXDB_REPORTING_DISABLED: 'true',
      INFLUXDB_BIND_ADDRESS: '127.0.0.1:0',
      INFLUXDB_META_DIR: `${directory}/meta`,
      INFLUXDB_DATA_DIR: `${directory}/data`,
      INFLUXDB_DATA_WAL_DIR: `${directory}/wal`,
      INFLUXDB_MONITOR_STORE_ENABLED: 'false',
      INFLUXDB_HTTP_BIND_ADDRESS: '127.0.0.1:0',
      INFLUXDB_HTTP_LOG_ENABLED: 'false',
    },
  })
  const failed = once(child, 'error').then(([cause]) => {
    throw new FaultlineError('STORE_NOT_FOUND', 'influxd is not installed', { cause })
  })
  const url = await Promise.race([listeningAt(child), failed])
  return {
    url,
    stop: async () => {
      child.kill()
      await once(child, 'exit')
    },
  }
}

async function listeningAt(child: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: child.stderr! })) {
    const port = /Listening on HTTP.*addr=127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (port === undefined) continue
    // Whatever it logs from now on must be read away, or the pipe would fill.
    child.stderr!.resume()
    return `http://127.0.0.1:${port}`
  }
  throw new FaultlineError('STORE_NOT_FOUND', 'influxd did not start')
}
