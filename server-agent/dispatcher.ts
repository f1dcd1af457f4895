import { setTimeout as delay } from 'node:timers/promises'
import { FaultlineError, type RejectedVerdict, toFaultlineError, type Verdict } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import { Backlog } from './backlog.ts'
import { BatchLimit } from './batch-limit.ts'
import { type BatchResult, isRefused, type Job, type JobResult } from './job.ts'
import type { ModelHost, ServedModel, Worker } from './model-host.ts'
import { type EscalationQueue, isMoreUrgent, type QueuedEscalation } from './queue.ts'
import { Throughput } from './throughput.ts'

export interface DispatcherOptions {
  /** Named in verdicts. */
  agent: string
  host: ModelHost
  maxBatch: number
  /** Bounds of what waits, over all models. */
  maxQueue: number
  maxQueueBytes: number
  /** How long a batch that is not full may wait for more. */
  maxDelayMs: number
  /** Called exactly once for each escalation that was offered. */
  answer: (item: QueuedEscalation, verdict: Verdict) => void
  /** Told of every batch that a worker finished. */
  measured?: ((report: BatchReport) => void) | undefined
  /** The share of memory that is free; of this machine when absent. */
  freeMemory?: (() => number) | undefined
  logger: Logger
}

export interface BatchReport {
  task: string
  windows: number
  /** What each of them waited, in ms. */
  queueMs: readonly number[]
  inferMs: number
}

interface Run {
  model: ServedModel
  batch: readonly QueuedEscalation[]
  startedAt: number
}

/** Kept of a device's patience for the way back, at most. */
const returnMs = 20
/** Workers that may end over one window before it is taken for the reason: the first time it had company, or bad luck. */
const maxCrashes = 2

/**
 * Hands what waits to workers that are free, most urgent first and as one batch each; it never waits for a batch to fill
 * unless told to. Takes no more than can be answered in time: what would be late anyway is rejected at once, while its
 * device can still do something else.
 */
export class Dispatcher {
  readonly throughput = new Throughput()
  private readonly options: DispatcherOptions
  private readonly backlog: Backlog
  /** By task. */
  private readonly limits = new Map<string, BatchLimit>()
  private readonly running = new Map<Worker, Run>()
  private turn: NodeJS.Immediate | undefined
  private later: NodeJS.Timeout | undefined
  private draining = false
  private readonly idle: (() => void)[] = []

  constructor(options: DispatcherOptions) {
    this.options = options
    this.backlog = new Backlog({ maxItems: options.maxQueue, maxBytes: options.maxQueueBytes })
    options.host.onChange(() => this.wake())
  }

  /** Windows that wait, in all or for one task. */
  queued(task?: string): number {
    return task === undefined ? this.backlog.items : this.backlog.of(task).size
  }

  /** Begins to take work, again after a stop. */
  open(): void {
    this.draining = false
  }

  /** Takes one escalation, or answers it at once with why not. */
  offer(item: QueuedEscalation): void {
    const model = this.options.host.models.get(item.escalation.task)
    if (!model) this.reject(item, 'no-model')
    else if (item.expiresAt <= performance.now()) this.reject(item, 'expired')
    else this.admit(item, this.overrunMs(item, model))
  }

  private admit(item: QueuedEscalation, overrunMs: number): void {
    // Where a worker is free it is tried, whatever was measured: nothing else would ever correct a wrong measure.
    const hopeless = overrunMs > 0 && !this.options.host.workers.some(worker => this.isFree(worker))
    const evicted = this.draining || hopeless ? undefined : this.backlog.makeRoomFor(item)
    if (!evicted) {
      this.turnAway(item, overrunMs)
      return
    }
    for (const other of evicted) this.turnAway(other)
    this.backlog.add(item)
    this.wake()
  }

  /** How much later than its device waits an item would be answered, in ms. */
  private overrunMs(item: QueuedEscalation, model: ServedModel): number {
    const size = Math.min(this.backlog.of(model.task).aheadOf(item) + 1, this.limitOf(model))
    const answeredInMs = this.waitMs(item) + (model.times.batchMs(size) ?? 0) + marginOf(item)
    return answeredInMs - (item.expiresAt - performance.now())
  }

  /** Half of what waits: devices that came back earlier would find little room, all of them later an idle server. */
  private turnAway(item: QueuedEscalation, overrunMs = 0): void {
    this.reject(item, 'overloaded', Math.ceil(Math.max(overrunMs, this.waitMs() / 2, 1)))
  }

  /** How long an escalation would wait now, in ms: behind everything, or behind what is more urgent than an item. */
  waitMs(item?: QueuedEscalation): number {
    let ms = 0
    const now = performance.now()
    for (const { model, batch, startedAt } of this.running.values()) {
      const elapsed = now - startedAt
      const expected = model.times.batchMs(batch.length)
      ms += expected === undefined ? elapsed : Math.max(0, expected - elapsed)
    }
    for (const [task, queue] of this.backlog) {
      const ahead = item ? queue.aheadOf(item) : queue.size
      if (ahead > 0) ms += this.batchesMs(task, ahead)
    }
    return ms / Math.max(1, this.options.host.workers.filter(({ ready }) => ready).length)
  }

  /** Resolves when nothing waits and nothing runs; what is left after `timeoutMs` is handed back: rejected as overloaded. */
  async drain(timeoutMs: number): Promise<void> {
    this.draining = true
    this.wake()
    const done = new Promise<void>(resolve => this.idle.push(resolve))
    this.settleIdle()
    const expiry = new AbortController()
    await Promise.race([done, delay(timeoutMs, undefined, { signal: expiry.signal }).catch(() => {})])
    expiry.abort()
    const left = [...this.running.values()].flatMap(({ batch }) => batch)
    this.running.clear() // Their answers come too late and are passed over.
    clearTimeout(this.later)
    for (const item of [...left, ...this.backlog.takeAll()]) this.reject(item, 'overloaded', 1)
  }

  private wake(): void {
    // Not at once: what came in the same packet makes one batch.
    if (this.turn) return
    this.turn = setImmediate(() => {
      this.turn = undefined
      this.guarded('handing out a batch failed', () => this.dispatch())
    })
  }

  private dispatch(): void {
    clearTimeout(this.later)
    this.rejectOrphans()
    for (;;) {
      const free = this.options.host.workers.filter(worker => this.isFree(worker))
      const next = this.mostUrgent()
      if (!free[0] || !next) break
      const batch = this.takeBatch(next.queue, next.model, free.length)
      if (batch.length > 0)
        this.run(free[0], next.model, batch).catch(thrown => this.report(thrown, 'ending a batch failed'))
    }
    this.settleIdle()
  }

  /** What waits for a model that was taken away. */
  private rejectOrphans(): void {
    for (const [task, queue] of this.backlog) {
      if (this.options.host.models.has(task)) continue
      while (queue.size > 0) for (const item of this.backlog.take(queue, queue.size)) this.reject(item, 'no-model')
    }
  }

  /** The queue whose first escalation is the most urgent of all, among those that need not wait for more. */
  private mostUrgent(): { queue: EscalationQueue; model: ServedModel } | undefined {
    const { host, maxDelayMs } = this.options
    let best: { queue: EscalationQueue; model: ServedModel } | undefined
    let soonest = Number.POSITIVE_INFINITY
    for (const [task, queue] of this.backlog) {
      const { first } = queue
      if (!first) continue
      const model = host.models.get(task)!
      const dueIn = queue.since + maxDelayMs - performance.now()
      if (dueIn > 0 && !this.draining && queue.size < this.limitOf(model)) soonest = Math.min(soonest, dueIn)
      else if (!best || isMoreUrgent(first, best.queue.first!)) best = { queue, model }
    }
    if (!best && soonest < Number.POSITIVE_INFINITY) this.later = setTimeout(() => this.wake(), Math.ceil(soonest))
    return best
  }

  /** A batch for one of so many free workers, without what it could not answer in time. */
  private takeBatch(queue: EscalationQueue, model: ServedModel, free: number): QueuedEscalation[] {
    const batch = this.backlog.take(queue, Math.min(this.limitOf(model), Math.ceil(this.backlog.items / free)))
    const now = performance.now()
    const batchMs = model.times.batchMs(batch.length) ?? 0
    const good: QueuedEscalation[] = []
    for (const item of batch) {
      const leftMs = item.expiresAt - now
      // Without anything better to do, a little hope is enough.
      const hopeless = batchMs + marginOf(item) > leftMs && queue.size > 0
      if (leftMs <= 0 || hopeless) this.reject(item, 'expired')
      else good.push(item)
    }
    return good
  }

  private async run(worker: Worker, model: ServedModel, batch: QueuedEscalation[]): Promise<void> {
    const run: Run = { model, batch, startedAt: performance.now() }
    this.running.set(worker, run)
    this.throughput.begin()
    this.options.logger.trace({ ids: batch.map(({ escalation }) => escalation.id), task: model.task }, 'batch begun')
    const jobs = batch.map(({ escalation: { window, shaftHz, bearing } }) => ({ window, shaftHz, bearing }))
    const result = await this.classify(worker, model, jobs)
    if (this.running.get(worker) !== run) return // Handed back meanwhile.
    this.running.delete(worker)
    try {
      if (result instanceof Error) this.failed(run, result)
      else this.finished(run, result)
    } finally {
      this.dispatch()
    }
  }

  private async classify(worker: Worker, { model }: ServedModel, jobs: Job[]): Promise<BatchResult | FaultlineError> {
    try {
      const result = await worker.classify(model.digest, jobs)
      if (result.results.length === jobs.length) return result
      return new FaultlineError('WORKER_FAILED', `${result.results.length} answers to ${jobs.length} windows`)
    } catch (thrown) {
      return toFaultlineError(thrown)
    }
  }

  private finished({ model, batch, startedAt }: Run, { results, inferMs }: BatchResult): void {
    model.times.record(batch.length, performance.now() - startedAt)
    this.throughput.end(batch.length)
    const queueMs = batch.map(({ receivedAt }) => startedAt - receivedAt)
    this.guarded('counting a batch failed', () =>
      this.options.measured?.({ task: model.task, windows: batch.length, queueMs, inferMs }),
    )
    for (const [i, item] of batch.entries()) this.give(item, model, results[i]!, { queueMs: queueMs[i]!, inferMs })
  }

  /** The worker is gone, or could not begin: each window gets a chance of its own. */
  private failed({ model, batch }: Run, { code, message }: { code: string; message: string }): void {
    const ids = batch.map(({ escalation }) => escalation.id)
    this.options.logger.error({ ids, task: model.task, code, error: message }, 'a batch failed')
    if (batch.length > 1) this.limitFor(model.task).shrink(batch.length)
    for (const item of batch) {
      item.deaths++
      if (item.deaths < maxCrashes) this.backlog.add(item)
      else this.reject(item, 'bad-window')
    }
  }

  private give(
    item: QueuedEscalation,
    { model }: ServedModel,
    result: JobResult,
    times: { queueMs: number; inferMs: number },
  ): void {
    const { id } = item.escalation
    if (isRefused(result)) {
      this.options.logger.warn({ id, code: result.code, error: result.message }, 'window refused')
      this.reject(item, 'bad-window')
      return
    }
    const { agent } = this.options
    const { label, confidence, probabilities } = result
    const [queueMs, inferMs] = [tenths(times.queueMs), tenths(times.inferMs)]
    this.answer(item, { id, label, confidence, probabilities, model, agent, queueMs, inferMs })
  }

  private reject(item: QueuedEscalation, rejected: RejectedVerdict['rejected'], retryAfterMs?: number): void {
    const { agent } = this.options
    this.answer(item, { id: item.escalation.id, rejected, agent, ...(retryAfterMs !== undefined && { retryAfterMs }) })
  }

  /** An answer that cannot be given keeps no other window from its own. */
  private answer(item: QueuedEscalation, verdict: Verdict): void {
    this.guarded('giving an answer failed', () => this.options.answer(item, verdict))
  }

  private guarded(what: string, work: () => void): void {
    try {
      work()
    } catch (thrown) {
      this.report(thrown, what)
    }
  }

  private report(thrown: unknown, what: string): void {
    const { code, message } = toFaultlineError(thrown)
    this.options.logger.error({ code, error: message }, what)
  }

  private limitFor(task: string): BatchLimit {
    const limit = this.limits.get(task) ?? new BatchLimit(this.options.freeMemory)
    this.limits.set(task, limit)
    return limit
  }

  private limitOf({ task, times }: ServedModel): number {
    const { maxBatch } = this.options
    return this.limitFor(task).limit(Math.min(maxBatch, times.best ?? maxBatch))
  }

  private batchesMs(task: string, windows: number): number {
    const model = this.options.host.models.get(task)
    if (!model) return 0
    const size = Math.min(windows, this.limitOf(model))
    const batchMs = model.times.batchMs(size)
    if (batchMs !== undefined) return (batchMs * windows) / size
    // Before the first batch is done, what that one has taken so far.
    const run = [...this.running.values()].find(run => run.model === model)
    return run ? (windows * (performance.now() - run.startedAt)) / run.batch.length : 0
  }

  private isFree(worker: Worker): boolean {
    return worker.ready && !this.running.has(worker)
  }

  private settleIdle(): void {
    if (this.running.size > 0 || this.backlog.items > 0) return
    for (const resolve of this.idle.splice(0)) resolve()
  }
}

/** So much of its patience an answer may need for the way back. */
const marginOf = ({ expiresAt, receivedAt }: QueuedEscalation): number =>
  Math.min(returnMs, (expiresAt - receivedAt) / 20)

const tenths = (ms: number): number => Math.round(ms * 10) / 10
