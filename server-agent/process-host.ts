import { availableParallelism } from 'node:os'
import { type Bundle, chooseEngine, type EngineChoice, type EngineName, loadBundle } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import { BatchTimes } from './batch-times.ts'
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
  logger: Logger
}

interface Chosen extends EngineChoice {
  bundle: Bundle
}

/** Models in processes of their own, each with all of them. */
export class ProcessHost implements ModelHost {
  readonly models = new Map<string, ServedModel>()
  readonly workers: readonly ProcessWorker[]
  failures = 0
  private readonly options: ProcessHostOptions
  private readonly sources: ModelSource[] = []
  private readonly listeners: (() => void)[] = []

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
    const { directories } = this.options
    try {
      // Finding engines takes as long as starting processes, and needs none of these.
      const choosing = Promise.all(directories.map(directory => this.choose(directory)))
      choosing.catch(() => {}) // Heard of below.
      await Promise.all(this.workers.map(worker => worker.start()))
      for (const chosen of await choosing) await this.serve(chosen)
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.workers.map(worker => worker.stop()))
    this.models.clear()
    this.sources.length = 0
  }

  onChange(listener: () => void): void {
    this.listeners.push(listener)
  }

  private changed(): void {
    for (const listener of this.listeners) listener()
  }

  private async choose(directory: string): Promise<Chosen> {
    const { engine = 'auto', trusted } = this.options
    const bundle = await loadBundle(directory, { ...(trusted && { trusted }) })
    return { bundle, ...(engine === 'auto' ? await chooseEngine(bundle) : { engine, rejected: [] }) }
  }

  private async serve({ bundle, engine, rejected }: Chosen): Promise<void> {
    const { trusted, maxBatch, logger } = this.options
    const { directory, digest, description } = bundle
    const { name, version, task } = description
    if (this.models.has(task)) throw new FaultlineError('CONFIG_INVALID', `two models for the task "${task}"`)
    const source: ModelSource = { directory, digest, engine, trusted }
    this.sources.push(source)
    await Promise.all(this.workers.map(worker => worker.load(source)))
    // All at once, as they will work: cores share caches and memory.
    const [measured] = await Promise.all(this.workers.map(worker => worker.measure(digest, maxBatch)))
    const times = new BatchTimes(measured)
    const model = { name, version, digest }
    this.models.set(task, { model, task, engine, enginesRejected: rejected, times })
    logger.info({ task, model, engine, rejected, batch: times.best }, 'model loaded')
    this.changed()
  }
}
