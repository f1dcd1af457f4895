import { type AnsweredVerdict, type ModelReference, toFaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import { isRefused } from './job.ts'
import type { ModelHost, ServedModel } from './model-host.ts'
import type { QueuedEscalation } from './queue.ts'

export interface ShadowOptions {
  host: ModelHost
  /** Whether windows wait for a worker: then no shadow is asked. */
  busy: () => boolean
  report: (report: ShadowReport) => void
  logger: Logger
}

/** What became of one window that a task with a shadow answered. */
export interface ShadowReport {
  /** Of the escalation. */
  id: string
  address: QueuedEscalation['replyTo']
  task: string
  /** The model that answered, and what. */
  model: ModelReference
  label: string
  shadow: ModelReference
  /** The shadow's answer; absent for a window it refused, was not asked about, or did not end with. */
  answer?: { label: string; confidence: number; probabilities: readonly number[] }
  outcome: 'agreed' | 'disagreed' | 'refused' | 'dropped'
  /** What the batch it was in took; absent where it was not asked. */
  inferMs?: number
}

/** Windows and bytes that may wait for a shadow; what does not fit is dropped. */
const most = { items: 256, bytes: 16_777_216 }
/** Few, so that a worker with nothing better to do than shadows is soon done with them. */
const batchWindows = 8

interface Waiting {
  item: QueuedEscalation
  verdict: AnsweredVerdict
}

/**
 * Asks the second model of a task about the windows that the first has answered. It has a worker of its own, at the lowest
 * priority of the operating system, and begins nothing while a window waits for a worker; under load windows are dropped, and counted.
 */
export class Shadow {
  private readonly options: ShadowOptions
  private waiting: Waiting[] = []
  private bytes = 0
  private asking = false

  constructor(options: ShadowOptions) {
    this.options = options
    options.host.onChange(() => this.pump())
  }

  /** A window that was answered. Never throws. */
  offer(item: QueuedEscalation, verdict: AnsweredVerdict): void {
    const shadow = this.options.host.shadows.get(item.escalation.task)
    if (shadow) {
      if (this.waiting.length < most.items && this.bytes + item.bytes <= most.bytes) {
        this.waiting.push({ item, verdict })
        this.bytes += item.bytes
      } else this.tell({ item, verdict }, shadow, { outcome: 'dropped' })
    }
    this.pump()
  }

  /** Drops what waits. */
  stop(): void {
    this.waiting = []
    this.bytes = 0
  }

  private pump(): void {
    const { host, busy } = this.options
    if (this.asking || this.waiting.length === 0 || !host.shadowWorker?.ready || busy()) return
    const [first] = this.waiting
    const { task } = first!.item.escalation
    const batch = this.waiting.filter(({ item }) => item.escalation.task === task).slice(0, batchWindows)
    this.waiting = this.waiting.filter(waiting => !batch.includes(waiting))
    for (const { item } of batch) this.bytes -= item.bytes
    const shadow = host.shadows.get(task)
    // It may have been taken away, or have become the one that answers.
    const others = batch.filter(({ verdict }) => verdict.model.digest !== shadow?.model.digest)
    if (!shadow || others.length === 0) {
      this.pump()
      return
    }
    this.asking = true
    this.ask(shadow, others)
      .finally(() => {
        this.asking = false
        this.pump()
      })
      .catch(thrown => this.options.logger.error({ error: toFaultlineError(thrown).message }, 'asking a shadow failed'))
  }

  private async ask(shadow: ServedModel, batch: readonly Waiting[]): Promise<void> {
    const jobs = batch.map(({ item: { escalation } }) => {
      const { window, shaftHz, bearing } = escalation
      return { window, shaftHz, bearing }
    })
    try {
      const { results, inferMs } = await this.options.host.shadowWorker!.classify(shadow.model.digest, jobs)
      for (const [i, waiting] of batch.entries()) {
        const result = results[i]!
        if (isRefused(result)) this.tell(waiting, shadow, { outcome: 'refused', inferMs })
        else {
          const outcome = result.label === waiting.verdict.label ? 'agreed' : 'disagreed'
          this.tell(waiting, shadow, { outcome, inferMs, answer: result })
        }
      }
    } catch (thrown) {
      const { code, message } = toFaultlineError(thrown)
      this.options.logger.error({ model: shadow.model, code, error: message }, 'a shadow failed')
      for (const waiting of batch) this.tell(waiting, shadow, { outcome: 'dropped' })
    }
  }

  private tell(
    { item, verdict }: Waiting,
    { model, task }: ServedModel,
    what: Pick<ShadowReport, 'outcome' | 'answer' | 'inferMs'>,
  ): void {
    const { replyTo: address, escalation } = item
    const { id } = escalation
    this.options.report({ id, address, task, model: verdict.model, label: verdict.label, shadow: model, ...what })
  }
}
