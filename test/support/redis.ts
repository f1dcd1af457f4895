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
  /** Whether a shared group is known to have no member. */
  isEmptyGroup(group: string): Promise<boolean>
  /** Lets the clock of the brokers in it run ahead. */
  pass(ms: number): Promise<void>
  /** Whatever else there is to ask or to change. */
  ask<T>(question: (redis: Redis) => Promise<T>): Promise<T>
  /** It stays connected and answers nothing, until it is resumed. */
  hang(): void
  resume(): void
  kill(): Promise<void>
  /** After `kill`, on the same port; empty unless it is durable. */
  restart(): Promise<void>
}

export interface TestRedisOptions {
  /** Has everything on disk before it answers. */
  durable?: boolean
}

/** Starts a Redis on a free port of loopback that writes nothing to disk unless it is durable; it goes with the test. */
export async function startRedis(
  t: { after(clean: () => Promise<void>): unknown },
  { durable = false }: TestRedisOptions = {},
): Promise<TestRedis> {
  const directory = await mkdtemp(join(tmpdir(), 'faultline-redis-'))
  t.after(() => rm(directory, { recursive: true, force: true, maxRetries: 3 }))
  const port = await freePort()
  const log = durable ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no']
  const flags = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', '', ...log]
  const start = async () => {
    const program = startProgram(t, findProgram('redis-server')!, flags)
    await program.said(/Ready to accept connections/)
    return program
  }
  let program = await start()
  const url = `redis://127.0.0.1:${port}`
  const ask = async <T>(question: (redis: Redis) => Promise<T>): Promise<T> => {
    const redis = new Redis(url, { retryStrategy: null })
    const answer = await question(redis)
    redis.disconnect()
    return answer
  }
  return {
    url,
    flush: async () => void (await ask(redis => redis.flushall())),
    dropListeners: async () => void (await ask(redis => redis.client('KILL', 'TYPE', 'pubsub'))),
    isEmptyGroup: async group => (await ask(redis => redis.hexists('faultline:empty', group))) === 1,
    pass: async ms => void (await ask(redis => redis.hincrby('faultline:clock', 'ms', ms))),
    ask,
    hang: () => void program.child.kill('SIGSTOP'),
    resume: () => void program.child.kill('SIGCONT'),
    kill: async () => void (await program.stop('SIGKILL')),
    restart: async () => {
      program = await start()
    },
  }
}
