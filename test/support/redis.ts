import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { freePort, startProgram } from './processes.ts'
import { findProgram } from './programs.ts'

export interface TestRedis {
  url: string
  /** Forgets everything. */
  flush(): Promise<void>
  /** Ends the connections of those who listen, who connect anew. */
  dropListeners(): Promise<void>
  kill(): Promise<void>
}

/** Starts a Redis on a free port of loopback that writes nothing to disk; it goes with the test. */
export async function startRedis(t: { after(clean: () => Promise<void>): unknown }): Promise<TestRedis> {
  const directory = await mkdtemp(join(tmpdir(), 'faultline-redis-'))
  t.after(() => rm(directory, { recursive: true, force: true, maxRetries: 3 }))
  const port = await freePort()
  const flags = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', '', '--appendonly', 'no']
  const program = startProgram(t, findProgram('redis-server')!, flags)
  await program.said(/Ready to accept connections/)
  const url = `redis://127.0.0.1:${port}`
  const ask = async (question: (redis: Redis) => Promise<unknown>) => {
    const redis = new Redis(url, { retryStrategy: null })
    await question(redis)
    redis.disconnect()
  }
  return {
    url,
    flush: () => ask(redis => redis.flushall()),
    dropListeners: () => ask(redis => redis.client('KILL', 'TYPE', 'pubsub')),
    kill: async () => void (await program.stop('SIGKILL')),
  }
}
