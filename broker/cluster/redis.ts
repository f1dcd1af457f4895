import { FaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import { Redis } from 'ioredis'
import { type ScriptName, scripts, sourceOf } from './scripts.ts'

export const prefix = 'faultline:'

/** A command fails, and with it what a client asked for, when Redis was not there for so many attempts to reach it. */
const attempts = 5
const probeMs = 1_000
/** A Redis that leaves a probe without an answer for so long cannot be relied on. */
const maxSilenceMs = 2_000
/** After so long its connections are made anew: its machine may have vanished, which ends none of them. */
const maxUnansweredMs = 10_000
/** How long after a line about a failed command there is no other. */
const quietMs = 60_000

/** Some scripts have the names of commands that Redis knows. */
const commandOf = (script: ScriptName): string => `faultline_${script}`

type Scripted = Record<string, (...parameters: (string | number | Buffer)[]) => Promise<unknown>>

export interface RedisLinkOptions {
  url: string
  /** A command failed. */
  failed?(): void
  logger: Logger
}

/** The Redis that brokers share: one connection for commands and as many more as are asked for. */
export class RedisLink {
  /** For commands; what is sent over it is done in that order. */
  readonly db: Redis
  private readonly options: RedisLinkOptions
  private readonly others: Redis[] = []
  private timer: NodeJS.Timeout | undefined
  /** When the probe was sent that has no answer yet, by the monotonic clock. */
  private probedAt: number | undefined
  /** When the connections were made anew for its silence. */
  private renewedAt = Number.NEGATIVE_INFINITY
  private refusal: string | undefined
  private reason: string | undefined
  private isTroubled = false
  private loggedAt = Number.NEGATIVE_INFINITY

  constructor(options: RedisLinkOptions) {
    this.options = options
    this.db = this.create()
    this.watchCommands()
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
    const timer = setTimeout(() => {
      this.reason ??= 'no answer'
      this.stop()
    }, maxUnansweredMs)
    try {
      await this.db.connect()
      await this.db.ping()
    } catch (cause) {
      this.stop()
      throw new FaultlineError('REDIS_UNREACHABLE', `redis: ${this.reason ?? (cause as Error).message}`, { cause })
    } finally {
      clearTimeout(timer)
    }
    this.timer = setInterval(() => {
      if (this.probedAt === undefined)
        this.probe().catch(() => {}) // It keeps the reason.
      else this.renew(this.probedAt)
      this.note()
    }, probeMs)
    this.timer.unref()
  }

  stop(): void {
    clearInterval(this.timer)
    for (const connection of this.all) connection.disconnect()
  }

  /** Why Redis cannot be relied on now; undefined while it can. */
  get trouble(): string | undefined {
    const isReady = this.all.every(({ status }) => status === 'ready' || status === 'wait')
    if (!isReady) return 'Redis cannot be reached'
    if (this.probedAt !== undefined && performance.now() - this.probedAt > maxSilenceMs) return 'Redis does not answer'
    return this.refusal && `Redis refuses to write: ${this.refusal}`
  }

  async run(script: ScriptName, ...parameters: (string | number | Buffer)[]): Promise<unknown> {
    return (this.db as unknown as Scripted)[commandOf(script)]!(...parameters)
  }

  /** As `run`, with the texts of the answer as bytes. */
  async runBuffer(script: ScriptName, ...parameters: (string | number | Buffer)[]): Promise<unknown> {
    return (this.db as unknown as Scripted)[`${commandOf(script)}Buffer`]!(...parameters)
  }

  /** Writes: a Redis without memory left, or that is a replica by now, still reads. */
  private async probe(): Promise<void> {
    this.probedAt = performance.now()
    try {
      await this.db.set(`${prefix}probe`, '1')
      this.refusal = undefined
    } catch (thrown) {
      this.refusal = (thrown as Error).message
    } finally {
      this.probedAt = undefined
      this.note()
    }
  }

  /** Makes the connections anew when a probe is without an answer for too long. */
  private renew(probedAt: number): void {
    const now = performance.now()
    if (now - Math.max(probedAt, this.renewedAt) < maxUnansweredMs) return
    this.renewedAt = now
    for (const connection of this.all) {
      if (connection.status === 'ready' || connection.status === 'connect') connection.disconnect(true)
    }
  }

  private get all(): Redis[] {
    return [...this.others, this.db]
  }

  private create(): Redis {
    const connection = new Redis(this.options.url, {
      lazyConnect: true,
      maxRetriesPerRequest: attempts,
      reconnectOnError: error => this.isElsewhere(error),
    })
    connection.on('error', (error: Error) => {
      this.reason = error.message
      this.note()
    })
    return connection
  }

  /** Whether the address may be that of another server by now. All connections have to go there, not this one alone. */
  private isElsewhere(error: Error): boolean {
    if (!/\bREADONLY\b/.test(error.message)) return false
    for (const connection of this.others) if (connection.status === 'ready') connection.disconnect(true)
    return true
  }

  /** One line when trouble begins, and one when it is over. */
  private note(): void {
    const { trouble } = this
    if ((trouble !== undefined) === this.isTroubled) return
    this.isTroubled = trouble !== undefined
    const { logger } = this.options
    if (trouble === undefined) logger.info('Redis can be used again')
    else logger.error({ error: this.reason }, trouble)
    this.reason = undefined
  }

  /** Counts commands that fail, with every sender. */
  private watchCommands(): void {
    const { db } = this
    const send = db.sendCommand.bind(db)
    db.sendCommand = (command, ...rest) => {
      command.promise.catch((error: Error) => this.fail(error))
      return send(command, ...rest)
    }
  }

  private fail({ message }: Error): void {
    // The server does not know a script yet: it is sent.
    if (message.startsWith('NOSCRIPT')) return
    const { failed, logger } = this.options
    failed?.()
    const now = performance.now()
    if (now - this.loggedAt < quietMs) return
    this.loggedAt = now
    logger.error({ error: message }, 'Redis command failed')
  }
}

/** What was published in the cluster, if it can be read: others may have access to the same Redis. */
export function readJson<T>(text: string): T | undefined {
  try {
    return JSON.parse(text) as T
  } catch {
    return undefined
  }
}
