import { FaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import { Redis } from 'ioredis'
import { type ScriptName, scripts, sourceOf } from './scripts.ts'

export const prefix = 'faultline:'

/** A command fails, and with it what a client asked for, when Redis was not there for so many attempts to reach it. */
const attempts = 5

/** Some scripts have the names of commands that Redis knows. */
const commandOf = (script: ScriptName): string => `faultline_${script}`

type Scripted = Record<string, (...parameters: (string | number | Buffer)[]) => Promise<unknown>>

/** The Redis that brokers share: one connection for commands and as many more as somebody asks for. */
export class RedisLink {
  /** For commands; what is sent over it is done in that order. */
  readonly db: Redis
  private readonly url: string
  private readonly logger: Logger
  private readonly others: Redis[] = []
  private failing = false

  constructor(url: string, logger: Logger) {
    this.url = url
    this.logger = logger
    this.db = this.create()
    for (const name of Object.keys(scripts) as ScriptName[]) {
      this.db.defineCommand(commandOf(name), { numberOfKeys: 0, lua: sourceOf(name) })
    }
  }

  /** Another connection, which ends with this one. */
  connection(): Redis {
    const connection = this.create()
    this.others.push(connection)
    return connection
  }

  /** Throws `REDIS_UNREACHABLE`. */
  async start(): Promise<void> {
    try {
      await this.db.connect()
      await this.db.ping()
    } catch (cause) {
      this.stop()
      throw new FaultlineError('REDIS_UNREACHABLE', `redis: ${this.reason ?? (cause as Error).message}`, { cause })
    }
  }

  stop(): void {
    for (const connection of [...this.others, this.db]) connection.disconnect()
  }

  get ready(): boolean {
    return [this.db, ...this.others].every(({ status }) => status === 'ready' || status === 'wait')
  }

  async run(script: ScriptName, ...parameters: (string | number | Buffer)[]): Promise<unknown> {
    return (this.db as unknown as Scripted)[commandOf(script)]!(...parameters)
  }

  /** As `run`, with the texts of the answer as bytes. */
  async runBuffer(script: ScriptName, ...parameters: (string | number | Buffer)[]): Promise<unknown> {
    return (this.db as unknown as Scripted)[`${commandOf(script)}Buffer`]!(...parameters)
  }

  private reason: string | undefined

  private create(): Redis {
    const connection = new Redis(this.url, { lazyConnect: true, maxRetriesPerRequest: attempts })
    connection.on('error', (error: Error) => {
      this.reason = error.message
      // Each connection tells of each attempt.
      if (!this.failing) this.logger.error({ error: error.message }, 'Redis cannot be reached')
      this.failing = true
    })
    connection.on('ready', () => {
      this.failing = false
    })
    return connection
  }
}
