import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { type Bundle, chooseEngine, type EngineChoice, type EngineName } from '@faultline/inference'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import { BatchTimes } from './batch-times.ts'
import { BundleShelf } from './bundle-shelf.ts'
import type { ModelHost, ServedModel } from './model-host.ts'
import { ProcessWorker, type ProcessWorkerOptions } from './process-worker.ts'
import type { ModelSource } from './worker-messages.ts'

export interface ProcessHostOptions
  extends Pick<ProcessWorkerOptions, 'logger' | 'backOff' | 'batchTimeoutMs' | 'program'> {
  /** Directories of bundles, one for each task. */
  directories: readonly string[]
  engine?: EngineName | 'auto'
  /** Public keys; when given, bundles must be signed with one of them. */
  trusted?: readonly string[] | undefined
  /** Processes; one per core when absent. */
  workers?: number | undefined
  /** Batches are measured up to this size. */
  maxBatch: number
  /** How often the directories are looked at for another bundle; 10 s when absent. */
  watchIntervalMs?: number
  logger: Logger
}

interface Chosen extends EngineChoice {
  bundle: Bundle
}

/** A bundle that is served, and where it came from. */
interface Served {
  directory: string
  source: ModelSource
  task: string
}

/**
 * Models in processes of their own, each with all of them. A bundle that takes the place of another in its directory is served
 * once it has shown its golden answers on every worker; until then, and where it does not, the one before is.
 */
export class ProcessHost implements ModelHost {
  readonly models = new Map<string, ServedModel>()
  readonly workers: readonly ProcessWorker[]
  failures = 0
  private readonly options: ProcessHostOptions
  private readonly sources: ModelSource[] = []
  private readonly listeners: (() => void)[] = []
  private readonly shelf = new BundleShelf()
  private served: Served[] = []
  /** Digests of bundles that were tried and are no good. */
  private readonly refused = new Set<string>()
  private timer: NodeJS.Timeout | undefined
  private lastProblem = ''

  constructor(options: ProcessHostOptions) {
    this.options = options
    const { workers = availableParallelism(), ...others } = options
    this.workers = Array.from(
      { length: workers },
      (_, i) =>
        new ProcessWorker({
          ...others,
          name: `worker-${i + 1}`,
          sources: () => this.sources,
          ready: () => this.changed(),
          failed: () => {
            this.failures++
            this.changed()
          },
        }),
    )
  }

  /** Resolves once every worker has every model. Throws the coded errors of bundles and engines, and `WORKER_FAILED`. */
  async start(): Promise<void> {
    const { directories, watchIntervalMs = 10_000 } = this.options
    try {
      await this.shelf.start()
      // Finding engines takes as long as starting processes, and needs none of these.
      const choosing = Promise.all(directories.map(directory => this.choose(directory)))
      choosing.catch(() => {}) // Heard of below.
      await Promise.all(this.workers.map(worker => worker.start()))
      for (const [i, chosen] of (await choosing).entries()) await this.serve(directories[i]!, chosen)
    } catch (error) {
      await this.stop()
      throw error
    }
    const watch = () => {
      this.timer = setTimeout(() => void this.check().finally(() => this.timer && watch()), watchIntervalMs)
    }
    watch()
  }

  async stop(): Promise<void> {
    clearTimeout(this.timer)
    this.timer = undefined
    await Promise.all(this.workers.map(worker => worker.stop()))
    await this.shelf.stop()
    this.models.clear()
    this.sources.length = 0
    this.served = []
  }

  /** Looks for other bundles now, and serves those that are good. */
  async check(): Promise<void> {
    for (const { directory, source } of [...this.served]) {
      const digest = await digestAt(directory)
      if (digest === undefined || digest === source.digest || this.refused.has(digest)) continue
      await this.replace(directory, digest).catch(thrown => {
        const { code, message } = toFaultlineError(thrown)
        // A bundle that is being copied is looked at again and again.
        if (this.lastProblem !== message.replace(/\d+/g, ''))
          this.options.logger.error({ directory, code, error: message }, 'another bundle is not served')
        this.lastProblem = message.replace(/\d+/g, '')
      })
    }
  }

  onChange(listener: () => void): void {
    this.listeners.push(listener)
  }

  private changed(): void {
    for (const listener of this.listeners) listener()
  }

  private async choose(directory: string): Promise<Chosen> {
    const { engine = 'auto', trusted } = this.options
    const bundle = await this.shelf.take(directory, trusted)
    return { bundle, ...(engine === 'auto' ? await chooseEngine(bundle) : { engine, rejected: [] }) }
  }

  private async serve(directory: string, chosen: Chosen): Promise<void> {
    const { task } = chosen.bundle.description
    if (this.models.has(task)) throw new FaultlineError('CONFIG_INVALID', `two models for the task "${task}"`)
    await this.use(directory, chosen)
  }

  private async replace(directory: string, digest: string): Promise<void> {
    const before = this.served.find(served => served.directory === directory)!
    const bundle = await this.shelf.take(directory, this.options.trusted)
    const { task } = bundle.description
    const { engine = 'auto' } = this.options
    try {
      if (task !== before.task && this.models.has(task))
        throw new FaultlineError('CONFIG_INVALID', `two models for the task "${task}"`)
      const choice = engine === 'auto' ? await chooseEngine(bundle) : { engine, rejected: [] }
      await this.use(directory, { bundle, ...choice })
    } catch (error) {
      this.refused.add(digest)
      await this.shelf.drop(bundle)
      throw error
    }
    if (task !== before.task) this.models.delete(before.task)
    await this.forget(before)
  }

  /** Has every worker load a bundle, which runs its golden inputs, and serves it then. */
  private async use(directory: string, { bundle, engine, rejected }: Chosen): Promise<void> {
    const { maxBatch, logger, trusted } = this.options
    const { digest, description } = bundle
    const { name, version, task } = description
    const source: ModelSource = { directory: bundle.directory, digest, engine, trusted }
    this.sources.push(source)
    try {
      await Promise.all(this.workers.map(worker => worker.load(source)))
      // All at once, as they will work: cores share caches and memory.
      const [measured] = await Promise.all(this.workers.map(worker => worker.measure(digest, maxBatch)))
      const times = new BatchTimes(measured)
      const model = { name, version, digest }
      this.models.set(task, { model, task, engine, enginesRejected: rejected, times })
      this.served.push({ directory, source, task })
      logger.info({ task, model, engine, rejected, batch: times.best }, 'model loaded')
    } catch (error) {
      this.sources.splice(this.sources.indexOf(source), 1)
      throw error
    }
    this.changed()
  }

  /** Its batches under way are finished: a worker frees a model only then. */
  private async forget(served: Served): Promise<void> {
    this.served.splice(this.served.indexOf(served), 1)
    this.sources.splice(this.sources.indexOf(served.source), 1)
    // A worker that is not running loads what is served when it starts.
    await Promise.allSettled(this.workers.map(worker => worker.unload(served.source.digest)))
    await this.shelf.drop(served.source)
  }
}

/** What identifies the bundle in a directory; undefined while there is none. */
async function digestAt(directory: string): Promise<string | undefined> {
  try {
    const description = await readFile(join(directory, 'bundle.json'))
    return `sha256:${createHash('sha256').update(description).digest('hex')}`
  } catch {
    return undefined
  }
}
