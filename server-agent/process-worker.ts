import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { constants, setPriority } from 'node:os'
import { join } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { Logger, Service } from '@faultline/runtime'
import type { BatchTime } from './batch-times.ts'
import type { BatchResult, Job } from './job.ts'
import type { Worker } from './model-host.ts'
import type { ModelSource, WorkerReplies, WorkerReply, WorkerRequest } from './worker-messages.ts'

export interface ProcessWorkerOptions {
  /** In logs. */
  name: string
  /** What it loads when it starts, and when it starts again; what is added meanwhile it loads as well. */
  sources: () => readonly ModelSource[]
  /** It takes batches, from the start or again. */
  ready: () => void
  /** It ended unasked. */
  failed: () => void
  logger: Logger
  /** First and longest pause before it is started again. */
  backOff?: { initialMs: number; maximumMs: number }
  /** How long one batch may take. */
  batchTimeoutMs?: number
  /** How long it may take to start, and to load a model. */
  loadTimeoutMs?: number
  /** It gets only the processor time that nobody else wants. */
  idle?: boolean
  /** The program that is run: `worker-program.ts` unless a test stands in for it. */
  program?: string
}

type Ask = WorkerRequest extends infer R ? (R extends { id: number } ? Omit<R, 'id'> : never) : never

interface Pending {
  resolve: (value: never) => void
  reject: (error: FaultlineError) => void
  timer: NodeJS.Timeout
}

/**
 * A worker in a process of its own: what a native library does to it, it does to this process alone. It is started again
 * after it failed, with a pause that doubles until it has answered a batch.
 */
export class ProcessWorker implements Worker, Service {
  private readonly options: ProcessWorkerOptions
  private readonly pending = new Map<number, Pending>()
  private child: ChildProcess | undefined
  private loaded = false
  private lastId = 0
  private attempts = 0
  private restart: NodeJS.Timeout | undefined
  private stopped = true

  constructor(options: ProcessWorkerOptions) {
    this.options = options
  }

  get ready(): boolean {
    return this.loaded
  }

  get pid(): number | undefined {
    return this.child?.pid
  }

  /** Resolves once its models are loaded. Throws what a model's bundle or engine throws, and `WORKER_FAILED`. */
  async start(): Promise<void> {
    this.stopped = false
    try {
      await this.launch()
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  async stop(): Promise<void> {
    this.stopped = true
    this.loaded = false
    clearTimeout(this.restart)
    const { child } = this
    if (!child) return
    const exited = once(child, 'exit').catch(() => {}) // A process that never began has an error in the place of an end.
    const insist = setTimeout(() => child.kill('SIGKILL'), 2_000)
    if (child.connected) child.disconnect()
    await exited
    clearTimeout(insist)
  }

  classify(digest: string, jobs: readonly Job[]): Promise<BatchResult> {
    const { batchTimeoutMs = 60_000 } = this.options
    return this.ask<'classify'>({ kind: 'classify', digest, jobs }, batchTimeoutMs).then(result => {
      this.attempts = 0
      return result
    })
  }

  /** Loads one more model. Throws what its bundle or engine throws. */
  async load(source: ModelSource): Promise<void> {
    await this.ask<'load'>({ kind: 'load', source }, this.loadTimeoutMs)
  }

  /** What batches of a model take, up to one of `maximum`. */
  measure(digest: string, maximum: number): Promise<BatchTime[]> {
    return this.ask<'measure'>({ kind: 'measure', digest, maximum }, this.loadTimeoutMs)
  }

  /** Frees a model, once the batch under way is done. */
  async unload(digest: string): Promise<void> {
    await this.ask<'unload'>({ kind: 'unload', digest }, this.loadTimeoutMs)
  }

  private get loadTimeoutMs(): number {
    return this.options.loadTimeoutMs ?? 120_000
  }

  private async launch(): Promise<void> {
    const { program = join(import.meta.dirname, 'worker-program.ts'), sources, ready } = this.options
    // tsx is named by its own address, so that neither the working directory nor how this process was started matters.
    const child = fork(program, {
      execArgv: ['--import', import.meta.resolve('tsx'), '--disable-warning=ExperimentalWarning'],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.child = child
    child.on('message', message => this.receive(message as WorkerReply))
    child.on('error', error => {
      this.options.logger.error({ worker: this.options.name, error: error.message }, 'a worker process failed')
      // A process that never began does not end either.
      if (child.pid === undefined) this.ended(child, error.message)
    })
    child.once('exit', (code, signal) => this.ended(child, signal ?? `exit code ${code}`))
    if (this.options.idle && child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW)
    for (const source of sources()) await this.load(source)
    this.loaded = true
    ready()
  }

  private ask<K extends keyof WorkerReplies>(ask: Ask, timeoutMs: number): Promise<WorkerReplies[K]> {
    const { child } = this
    const id = ++this.lastId
    return new Promise((resolve, reject) => {
      if (!child?.connected) {
        reject(new FaultlineError('WORKER_FAILED', 'the worker is not running'))
        return
      }
      const timer = setTimeout(() => {
        this.options.logger.error({ worker: this.options.name, timeoutMs }, 'a worker does not answer and is ended')
        child.kill('SIGKILL')
      }, timeoutMs)
      this.pending.set(id, { resolve: resolve as Pending['resolve'], reject, timer })
      // A channel that broke is heard of as the end of the process.
      child.send({ ...ask, id }, () => {})
    })
  }

  private receive(reply: WorkerReply): void {
    const pending = this.pending.get(reply.id)
    if (!pending) return
    this.pending.delete(reply.id)
    clearTimeout(pending.timer)
    if (reply.ok) pending.resolve(reply.value as never)
    else pending.reject(new FaultlineError(reply.code, reply.message))
  }

  private ended(child: ChildProcess, how: string): void {
    if (child !== this.child) return
    this.child = undefined
    this.loaded = false
    const error = new FaultlineError('WORKER_FAILED', `the worker ended with ${how}`)
    for (const { reject, timer } of this.pending.values()) {
      clearTimeout(timer)
      reject(error)
    }
    this.pending.clear()
    this.again(how)
  }

  private again(how: string): void {
    if (this.stopped) return
    const { initialMs, maximumMs } = this.options.backOff ?? { initialMs: 100, maximumMs: 10_000 }
    const pauseMs = Math.min(maximumMs, initialMs * 2 ** Math.min(this.attempts++, 16))
    this.options.logger.error({ worker: this.options.name, how, pauseMs }, 'a worker ended; it is started again')
    clearTimeout(this.restart)
    this.restart = setTimeout(() => this.relaunch(), pauseMs)
    this.options.failed()
  }

  private relaunch(): void {
    this.launch().catch(thrown => {
      const { code, message } = toFaultlineError(thrown)
      this.options.logger.error({ worker: this.options.name, code, error: message }, 'a worker did not come back')
      // The end of its process has the next attempt follow.
      if (this.child) this.child.kill('SIGKILL')
      else this.again(message)
    })
  }
}
