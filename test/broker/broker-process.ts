import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { BrokerLimits } from '../../broker/limits.ts'
import { nodeFlags, type RunningProgram, startProgram } from '../support/processes.ts'
import { shiftedClock } from '../support/shifted-clock.ts'

export interface ProcessOptions {
  /** Holds the registry, `registry.db`, and gets the broker's files. */
  directory: string
  name: string
  redis?: string
  limits?: Partial<BrokerLimits>
  /** How far its wall clock is ahead, in ms. */
  aheadMs?: number
}

export interface BrokerProcess {
  program: RunningProgram
  port: number
}

/** A broker in a process of its own. */
export async function startProcess(t: TestContext, options: ProcessOptions): Promise<BrokerProcess> {
  const { directory, name, redis, limits, aheadMs } = options
  const config = join(directory, `${name}.yaml`)
  const store = redis === undefined ? { store: join(directory, `${name}.db`) } : { redis }
  const registry = join(directory, 'registry.db')
  const generous = { messagesPerSecond: 1_000_000, ...limits }
  await writeFile(config, JSON.stringify({ port: 0, registry, ...store, limits: generous })) // JSON is YAML.
  const clock = aheadMs === undefined ? [] : shiftedClock(aheadMs)
  const program = startProgram(t, process.execPath, [...clock, ...nodeFlags, 'broker/main.ts', '--config', config])
  const [, port] = await program.said(/"port":(\d+)/, 60_000)
  return { program, port: Number(port) }
}
