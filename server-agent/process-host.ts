import { availableParallelism } from 'node:os'
import type { EngineName } from '@faultline/inference'
import { type FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import { BatchTimes } from './batch-times.ts'
import { BundleShelf } from './bundle-shelf.ts'
import type { ModelHost, ServedModel } from './model-host.ts'
import { ProcessWorker, type ProcessWorkerOptions } from './process-worker.ts'
import { type FoundBundle, ModelRepository, type Place } from './repository.ts'
import { allows, byAge, type Routes } from './routes.ts'
import type { ModelSource } from './worker-messages.ts'

export interface ProcessHostOptions
  extends Pick<ProcessWorkerOptions, 'logger' | 'backOff' | 'batchTimeoutMs' | 'program'> {
  /** Bundles, or directories of bundles. */
  directories: readonly string[]
  /** Which model of a task answers; the newest when absent. */
  routes?: Routes
  engine?: EngineName | 'auto'
  /** Public keys; when given, bundles must be signed with one of them. */
  trusted?: readonly string[] | undefined
  /** Processes; one per core when absent. */
  workers?: number | undefined
  /** Batches are measured up to this size. */
  maxBatch: number
  /** How often the directories are looked at for other bundles; 10 s when absent. */
  watchIntervalMs?: number
  logger: Logger
}

type Role = 'answer' | 'shadow'

/** Times that workers may end over a bundle before it is taken for the reason. */
const mostAttempts = 3

/** What a bundle that is being copied, or whose signature is still to come, fails with: it is looked at again and again. */
const incomplete: readonly FaultlineError['code'][] = [
  'BUNDLE_UNREADABLE',
  'BUNDLE_INVALID',
  'BUNDLE_DIGEST_MISMATCH',
  'BUNDLE_UNSIGNED',
  'BUNDLE_SIGNATURE_INVALID',
]

/** What workers have loaded, by digest. */
interface Crew {
  readonly workers: readonly ProcessWorker[]
  readonly sources: Map<string, ModelSource>
  readonly served: Map<string, ServedModel>
  /** By task, which of them is asked. */
  readonly models: Map<string, ServedModel>
}

const crewOf = (): Omit<Crew, 'workers'> => ({ sources: new Map(), served: new Map(), models: new Map() })

/**
 * Models in processes of their own: each worker has all that answer, and one more, which gets only the processor time that is left, has
 * the shadows. A bundle takes the place of another once it has shown its golden answers on every worker; until then,
 * and where it does not, the one before stays.
 */
export class ProcessHost implements ModelHost {
  readonly workers: readonly ProcessWorker[]
  readonly shadowWorker: ProcessWorker | undefined
  failures = 0
  private readonly options: ProcessHostOptions
  private readonly crews: Record<Role, Crew>
  private readonly repository: ModelRepository
  private readonly listeners: (() => void)[] = []
  private readonly shelf: BundleShelf
  /** The last bundle of each place that was served. */
  private readonly proven = new WeakMap<Place, FoundBundle>()
  /** By digest, how often a bundle was tried in vain. */
  private readonly attempts = new Map<string, number>()
  /** By directory, what was said of it last. */
  private readonly said = new Map<string, string>()
  private checking = Promise.resolve()
  private timer: NodeJS.Timeout | undefined

  constructor(options: ProcessHostOptions) {
    this.options = options
    const { workers = availableParallelism(), routes = {} } = options
    this.repository = new ModelRepository(options.directories)
    this.shelf = new BundleShelf({ engine: options.engine ?? 'auto', trusted: options.trusted })
    const [answer, shadow] = [crewOf(), crewOf()]
    this.workers = Array.from({ length: workers }, (_, i) => this.worker(`worker-${i + 1}`, answer.sources))
    const any = Object.values(routes).some(route => route.shadow)
    this.shadowWorker = any ? this.worker('shadow', shadow.sources, true) : undefined
    this.crews = {
      answer: { workers: this.workers, ...answer },
      shadow: { workers: this.shadowWorker ? [this.shadowWorker] : [], ...shadow },
    }
  }

  get models(): ReadonlyMap<string, ServedModel> {
    return this.crews.answer.models
  }

  get shadows(): ReadonlyMap<string, ServedModel> {
    return this.crews.shadow.models
  }

  /**
   * Resolves once every worker has the model of every task. Throws `WORKER_FAILED`, and for a bundle that the configuration
   * names the coded errors of bundles and engines.
   */
  async start(): Promise<void> {
    const { watchIntervalMs = 10_000 } = this.options
    try {
      await this.shelf.start()
      await this.repository.look()
      // Finding engines takes as long as starting processes, and needs none of these.
      for (const task of this.tasks()) {
        const [first] = this.candidates(task, 'answer')
        if (first) this.shelf.prepare(first)
      }
      await Promise.all(this.everyWorker.map(worker => worker.start()))
      await this.settle(true)
      if (this.models.size === 0)
        this.options.logger.warn({ directories: this.options.directories }, 'there is no bundle of a server model yet')
    } catch (error) {
      await this.stop()
      throw error
    }
    const watch = () => {
      this.timer = setTimeout(() => {
        this.check()
          .catch(error => this.options.logger.error({ error: error.message }, 'watching the workers failed'))
          .finally(() => this.timer && watch())
      }, watchIntervalMs)
    }
    watch()
  }

  async stop(): Promise<void> {
    clearTimeout(this.timer)
    this.timer = undefined
    await Promise.all(this.everyWorker.map(worker => worker.stop()))
    await this.shelf.stop()
    for (const { sources, served, models } of Object.values(this.crews)) {
      for (const map of [sources, served, models]) map.clear()
    }
  }

  /** Looks for other bundles now, and serves those that are good. Never rejects. */
  check(): Promise<void> {
    this.checking = this.checking.then(async () => {
      try {
        await this.repository.look()
        await this.settle(false)
      } catch (thrown) {
        this.options.logger.error({ error: toFaultlineError(thrown).message }, 'bundles not looked for')
      }
    })
    return this.checking
  }

  onChange(listener: () => void): void {
    this.listeners.push(listener)
  }

  private changed(): void {
    for (const listener of this.listeners) listener()
  }

  private get everyWorker(): readonly ProcessWorker[] {
    return this.shadowWorker ? [...this.workers, this.shadowWorker] : this.workers
  }

  private worker(name: string, sources: ReadonlyMap<string, ModelSource>, idle = false): ProcessWorker {
    const { logger, backOff, batchTimeoutMs, program } = this.options
    return new ProcessWorker({
      logger,
      ...(backOff && { backOff }),
      ...(batchTimeoutMs !== undefined && { batchTimeoutMs }),
      ...(program !== undefined && { program }),
      name,
      idle,
      sources: () => [...sources.values()],
      ready: () => this.changed(),
      failed: () => {
        this.failures++
        this.changed()
      },
    })
  }

  /** Has every task answered, and shadowed, by the model that its route names. `strict`: throws for bundles that are named. */
  private async settle(strict: boolean): Promise<void> {
    for (const { directory, named, problem } of this.repository.places.values()) {
      if (problem && strict && named) throw problem
      if (problem) this.report(directory, problem)
    }
    for (const task of this.tasks()) {
      for (const role of ['answer', 'shadow'] as const) {
        const model = await this.prove(task, role, strict)
        const { models } = this.crews[role]
        if (model === models.get(task)) continue
        if (model) models.set(task, model)
        else models.delete(task)
        if (!model && role === 'answer') this.options.logger.warn({ task }, 'no model answers this task now')
        this.changed()
      }
    }
    await this.retire()
  }

  /** Every task that a bundle is there for, or was until now. */
  private tasks(): Set<string> {
    const found = [...this.repository.places.values()].flatMap(({ found }) => found?.task ?? [])
    const { answer, shadow } = this.crews
    return new Set([
      ...found,
      ...Object.keys(this.options.routes ?? {}),
      ...answer.models.keys(),
      ...shadow.models.keys(),
    ])
  }

  /** The first of a task's candidates that can be served, or undefined. */
  private async prove(task: string, role: Role, strict: boolean): Promise<ServedModel | undefined> {
    const failed = new Set<string>()
    for (;;) {
      const best = this.candidates(task, role, failed)[0]
      if (!best) return undefined
      const place = this.repository.places.get(best.directory)
      try {
        const model = this.crews[role].served.get(best.digest) ?? (await this.load(best, role))
        if (place) this.proven.set(place, best)
        return model
      } catch (thrown) {
        if (strict && place?.named) throw thrown
        failed.add(best.digest)
        this.triedInVain(best, thrown)
      }
    }
  }

  /** What could serve a task, the best first. Where a place has nothing good, what was served from it before. */
  private candidates(task: string, role: Role, failed: ReadonlySet<string> = new Set()): FoundBundle[] {
    const { answer = 'newest', shadow } = this.options.routes?.[task] ?? {}
    const wanted = role === 'answer' ? answer : shadow
    if (wanted === undefined) return []
    const beside = role === 'shadow' ? this.models.get(task)?.model.digest : undefined
    const fits = (bundle: FoundBundle | undefined): bundle is FoundBundle =>
      bundle?.task === task && allows(wanted, bundle) && bundle.digest !== beside && !failed.has(bundle.digest)
    const bundles = [...this.repository.places.values()].flatMap(place => {
      const { found, missed } = place
      if (fits(found) && this.mayServe(found, missed)) return found
      const before = this.proven.get(place)
      return fits(before) && this.shelf.has(before.digest) ? before : []
    })
    return bundles.sort(byAge)
  }

  private mayServe({ digest }: FoundBundle, missed: number): boolean {
    return this.shelf.has(digest) || (missed === 0 && (this.attempts.get(digest) ?? 0) < mostAttempts)
  }

  /** Has every worker of a crew load a bundle, which runs its golden inputs, and measures it where it is to answer. */
  private async load(found: FoundBundle, role: Role): Promise<ServedModel> {
    const { bundle, engine, rejected } = await this.shelf.take(found)
    const { maxBatch, logger, trusted } = this.options
    const { workers, sources, served } = this.crews[role]
    const { digest, description } = bundle
    const { name, version, task, classes } = description
    const source: ModelSource = { directory: bundle.directory, digest, engine, trusted }
    sources.set(digest, source)
    try {
      await Promise.all(workers.map(worker => worker.load(source)))
      // All at once, as they will work: cores share caches and memory.
      const measured =
        role === 'answer' ? await Promise.all(workers.map(worker => worker.measure(digest, maxBatch))) : []
      const times = new BatchTimes(measured[0])
      const model: ServedModel = {
        model: { name, version, digest },
        task,
        classes,
        description,
        engine,
        enginesRejected: rejected,
        times,
      }
      served.set(digest, model)
      logger.info({ task, role, model: model.model, engine, rejected, batch: times.best }, 'model loaded')
      return model
    } catch (error) {
      sources.delete(digest)
      throw error
    }
  }

  /** Notes whether a bundle is worth another attempt: a worker that ended may have had another reason. */
  private triedInVain({ directory, digest }: FoundBundle, thrown: unknown): void {
    const { code } = toFaultlineError(thrown)
    const before = this.attempts.get(digest) ?? 0
    if (!incomplete.includes(code)) this.attempts.set(digest, code === 'WORKER_FAILED' ? before + 1 : mostAttempts)
    this.report(directory, thrown)
  }

  /** Frees what serves no task any more; batches under way are finished, a worker frees a model only then. */
  private async retire(): Promise<void> {
    for (const { workers, sources, served, models } of Object.values(this.crews)) {
      const used = new Set([...models.values()].map(({ model }) => model.digest))
      for (const digest of [...sources.keys()].filter(digest => !used.has(digest))) {
        sources.delete(digest)
        served.delete(digest)
        // A worker that is not running loads what is served when it starts.
        await Promise.allSettled(workers.map(worker => worker.unload(digest)))
      }
    }
    const { answer, shadow } = this.crews
    await this.shelf.clear(digest => answer.sources.has(digest) || shadow.sources.has(digest))
  }

  /** Once for each problem, whatever numbers are in it: a bundle that is being copied has another size each time. */
  private report(directory: string, thrown: unknown): void {
    const { code, message } = toFaultlineError(thrown)
    const text = message.replace(/\d+/g, '')
    if (this.said.get(directory) === text) return
    this.said.set(directory, text)
    this.options.logger.error({ directory, code, error: message }, 'a bundle is not served')
  }
}
