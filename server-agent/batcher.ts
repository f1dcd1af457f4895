import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Classified, isValid, type PreparedInput } from '@faultline/inference'
import {
  type AnsweredVerdict,
  decodeWindow,
  type Escalation,
  type RejectedVerdict,
  toFaultlineError,
  type Verdict,
} from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { ServerModel } from './model.ts'
import type { EscalationQueue, QueuedEscalation } from './queue.ts'
import type { Throughput } from './throughput.ts'

export interface BatcherOptions {
  /** Named in verdicts. */
  agent: string
  queue: EscalationQueue
  models: ReadonlyMap<string, ServerModel>
  maxBatch: number
  throughput: Throughput
  answer: (item: QueuedEscalation, verdict: Verdict) => void
  logger: Logger
}

type Rejection = RejectedVerdict['rejected']

interface PreparedItem {
  item: QueuedEscalation
  input: PreparedInput
}

/**
 * Takes whatever waits, as one batch, as soon as the model is free. It never waits for a batch to fill: under little load
 * a window travels alone and fast, under much load batches grow by themselves.
 */
export class Batcher {
  private readonly options: BatcherOptions
  private running: Promise<void> | undefined

  constructor(options: BatcherOptions) {
    this.options = options
  }

  /** Something was queued. */
  wake(): void {
    this.running ??= this.run().finally(() => {
      this.running = undefined
    })
  }

  /** Resolves when nothing waits and nothing runs. */
  async drained(): Promise<void> {
    await this.running
  }

  private async run(): Promise<void> {
    await nextTurn() // What came in the same packet makes one batch.
    const { queue, maxBatch } = this.options
    while (queue.size > 0) await this.process(queue.take(maxBatch))
  }

  private async process(batch: readonly QueuedEscalation[]): Promise<void> {
    const { throughput, models } = this.options
    const model = models.get(batch[0]?.escalation.task ?? '')
    if (!model) {
      for (const item of batch) this.reject(item, 'no-model')
      return
    }
    throughput.begin(batch.length)
    const prepared = batch.map(item => this.prepare(item, model)).filter(item => item !== undefined)
    if (prepared.length > 0) await this.infer(prepared, model)
    throughput.end()
  }

  /** Undefined when it was rejected, which a bad window is alone, without its batch. */
  private prepare(item: QueuedEscalation, model: ServerModel): PreparedItem | undefined {
    const { escalation } = item
    const { logger } = this.options
    if (performance.now() - item.receivedAt > patienceMs(escalation)) {
      this.reject(item, 'expired')
      return undefined
    }
    try {
      const window = { ...decodeWindow(escalation.window), shaftHz: escalation.shaftHz, bearing: escalation.bearing }
      return { item, input: model.prepare(window) }
    } catch (thrown) {
      const error = toFaultlineError(thrown)
      logger.warn({ id: escalation.id, code: error.code, error: error.message }, 'window refused')
      this.reject(item, 'bad-window')
      return undefined
    }
  }

  private async infer(prepared: readonly PreparedItem[], model: ServerModel): Promise<void> {
    const startedAt = performance.now()
    try {
      const answers = await model.classifyPrepared(prepared.map(({ input }) => input))
      const inferMs = performance.now() - startedAt
      for (const [i, { item }] of prepared.entries()) this.give(item, model, answers[i], startedAt, inferMs)
    } catch (thrown) {
      this.options.logger.error({ error: toFaultlineError(thrown).message, windows: prepared.length }, 'a batch failed')
      // One window may have done it: each gets a chance of its own.
      if (prepared.length > 1) for (const one of prepared) await this.infer([one], model)
      else this.reject(prepared[0]!.item, 'bad-window')
    }
  }

  private give(
    item: QueuedEscalation,
    model: ServerModel,
    answer: Classified | undefined,
    startedAt: number,
    inferMs: number,
  ): void {
    if (!answer || !isValid(answer.classification.probabilities, model.classes.length)) {
      this.reject(item, 'bad-window')
      return
    }
    const { label, confidence, probabilities } = answer.classification
    const verdict: AnsweredVerdict = {
      id: item.escalation.id,
      label,
      confidence,
      probabilities: [...probabilities],
      model: model.model,
      agent: this.options.agent,
      queueMs: tenths(startedAt - item.receivedAt),
      inferMs: tenths(inferMs),
    }
    this.options.answer(item, verdict)
  }

  private reject(item: QueuedEscalation, rejected: Rejection): void {
    this.options.answer(item, { id: item.escalation.id, rejected, agent: this.options.agent })
  }
}

/**
 * How long the device waits for a verdict. Both times are the device's own, so that only their difference counts: a Pi
 * without a clock that keeps the time is served like any other.
 */
const patienceMs = ({ at, deadline }: Escalation): number => Date.parse(deadline) - Date.parse(at)

const tenths = (ms: number): number => Math.round(ms * 10) / 10
