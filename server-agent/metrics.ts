import { isRejected, rejectionReasons } from '@faultline/protocol'
import { metrics } from '@faultline/runtime'
import type { ServerAgent } from './agent.ts'
import type { ModelHost, ServedModel } from './model-host.ts'
import { nameOf } from './routes.ts'
import { measureShadows } from './shadow-metrics.ts'

/** From a millisecond to the longest that anybody waits. */
const seconds = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30]
const windows = [1, 2, 4, 8, 16, 32, 64, 128, 256]

/** What a server agent does, for Prometheus. */
export class ServerMetrics {
  readonly registry = new metrics.Registry()
  private readonly agent: ServerAgent
  private readonly host: ModelHost

  constructor(agent: ServerAgent, host: ModelHost) {
    this.agent = agent
    this.host = host
    this.countVerdicts()
    this.measureBatches()
    measureShadows(agent, this.registry, seconds)
    this.gauge('models', 'Models that are loaded: 1 for each', ['task', 'model', 'role'], gauge => {
      const each = ({ task, model }: ServedModel, role: string) => gauge.set({ task, model: nameOf(model), role }, 1)
      for (const model of host.models.values()) each(model, 'answer')
      for (const model of host.shadows.values()) each(model, 'shadow')
    })
    this.gauge('queued', 'Escalations waiting, by task', ['task'], gauge => {
      for (const task of host.models.keys()) gauge.set({ task }, agent.queued(task))
    })
    this.gauge('expected_wait_seconds', 'What it expects an escalation that comes now to wait', [], gauge =>
      gauge.set(agent.waitMs / 1_000),
    )
    this.gauge('workers', 'Worker processes, by state', ['state'], gauge => {
      const ready = host.workers.filter(worker => worker.ready).length
      gauge.set({ state: 'ready' }, ready)
      gauge.set({ state: 'starting' }, host.workers.length - ready)
    })
    this.counted('worker_failures_total', 'Workers that ended unasked', () => host.failures)
    this.countSecondOpinions()
    this.counted('refused_total', 'Escalations that could not be read', () => agent.counts.refused)
    this.counted(
      'unknown_messages_total',
      'Messages of kinds that this version does not know',
      () => agent.unknownMessages,
    )
  }

  private countVerdicts(): void {
    const answered = new metrics.Counter({
      name: 'faultline_server_answered_total',
      help: 'Escalations answered, by task and model',
      labelNames: ['task', 'model'],
      registers: [this.registry],
    })
    const rejected = new metrics.Counter({
      name: 'faultline_server_rejected_total',
      help: 'Escalations rejected, by task and reason',
      labelNames: ['task', 'reason'],
      registers: [this.registry],
    })
    for (const task of [...this.host.models.keys(), otherTask])
      for (const reason of rejectionReasons) rejected.inc({ task, reason }, 0)
    this.agent.on('verdict', (verdict, asked) => {
      const task = this.host.models.has(asked) ? asked : otherTask
      if (isRejected(verdict)) rejected.inc({ task, reason: verdict.rejected })
      else answered.inc({ task, model: nameOf(verdict.model) })
    })
  }

  private countSecondOpinions(): void {
    const { secondOpinions } = this.agent
    if (!secondOpinions) return
    this.counted('second_opinions_asked_total', 'Windows asked about further up', () => secondOpinions.counts.asked)
    new metrics.Counter({
      name: 'faultline_server_second_opinions_total',
      help: 'How they ended: the answer from above was the same or another, a rejection, or none in time',
      labelNames: ['outcome'],
      registers: [this.registry],
      collect() {
        this.reset()
        const { asked: _, ...ends } = secondOpinions.counts
        for (const [outcome, count] of Object.entries(ends)) this.inc({ outcome }, count)
      },
    })
    this.gauge('second_opinions_waiting', 'Windows that wait for an answer from above', [], gauge =>
      gauge.set(secondOpinions.waiting),
    )
  }

  private measureBatches(): void {
    const histogram = (name: string, help: string, buckets: number[]) =>
      new metrics.Histogram({
        name: `faultline_server_${name}`,
        help,
        labelNames: ['task'],
        buckets,
        registers: [this.registry],
      })
    const queueTime = histogram('queue_seconds', 'What escalations waited for a worker', seconds)
    const inferenceTime = histogram('inference_seconds', 'What a batch took a worker', seconds)
    const batchSize = histogram('batch_windows', 'Windows in a batch', windows)
    this.agent.on('batch', ({ task, windows, queueMs, inferMs }) => {
      for (const ms of queueMs) queueTime.observe({ task }, ms / 1_000)
      inferenceTime.observe({ task }, inferMs / 1_000)
      batchSize.observe({ task }, windows)
    })
  }

  private gauge<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    read: (gauge: metrics.Gauge<L>) => void,
  ): void {
    new metrics.Gauge({
      name: `faultline_server_${name}`,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset()
        read(this as metrics.Gauge<L>)
      },
    })
  }

  /** Counted where it happens; here it is only read. */
  private counted(name: string, help: string, read: () => number): void {
    new metrics.Counter({
      name: `faultline_server_${name}`,
      help,
      registers: [this.registry],
      collect() {
        this.reset()
        this.inc(read())
      },
    })
  }
}

/** A task that no model here has: devices may name any, and each would be a series. */
const otherTask = 'other'
