import { EventEmitter } from 'node:events'
import {
  contractVersion,
  type Escalation,
  encodePayload,
  FaultlineError,
  identityOf,
  isRejected,
  type Message,
  parseTopic,
  type ServerState,
  sharedFilter,
  toFaultlineError,
  topicFilter,
  type Verdict,
} from '@faultline/protocol'
import { type BrokerAccess, type Logger, MqttSession, type Service, version } from '@faultline/runtime'
import type { Archiver } from './archive/archiver.ts'
import { type BatchReport, Dispatcher } from './dispatcher.ts'
import type { ModelHost, ServedModel } from './model-host.ts'
import { Pools } from './pools.ts'
import type { QueuedEscalation } from './queue.ts'
import { type SecondOpinionSettings, SecondOpinions } from './second-opinions.ts'
import { Shadow, type ShadowReport } from './shadow.ts'
import { StatePublisher } from './state-publisher.ts'

export interface ServerAgentOptions {
  server: string
  broker: BrokerAccess & { backOff?: { initialMs: number; maximumMs: number } }
  /** Where the models run; started before the agent, and stopped after it, by whoever made it. */
  host: ModelHost
  /** Where windows and both answers are kept; started and stopped as the host is. Nowhere when absent. */
  archiver?: Pick<Archiver, 'offer' | 'add'>
  maxBatch?: number
  maxQueue?: number
  maxQueueBytes?: number
  /** How long a batch that is not full may wait for more, in ms. */
  maxDelayMs?: number
  /** How long a stop may take to finish what it has, in ms; the rest is rejected. */
  drainMs?: number
  /** The state message follows the load, at most this often. */
  stateIntervalMs?: number
  /** Where the answers here are not sure enough, servers above are asked; never when absent. */
  secondOpinion?: SecondOpinionSettings | undefined
  /** How long evidence gathers before pools are published. */
  poolIntervalMs?: number
  logger: Logger
}

interface ServerAgentEvents {
  online: []
  offline: []
  /** An escalation was answered or rejected. */
  verdict: [verdict: Verdict, task: string]
  /** A worker finished a batch. */
  batch: [report: BatchReport]
  /** The shadow of a task was asked about a window, or could not be. */
  shadow: [report: ShadowReport]
}

/** All server agents are one group: each escalation goes to one of them. */
const group = 'servers'

/** Escalations in, verdicts out. */
export class ServerAgent extends EventEmitter<ServerAgentEvents> implements Service {
  /** Since the start. `refused`: escalations that could not be read at all, so that there was nobody to answer. */
  readonly counts = { answered: 0, rejected: 0, refused: 0 }
  private readonly options: ServerAgentOptions
  private readonly maxBatch: number
  private readonly maxQueue: number
  private readonly dispatcher: Dispatcher
  private readonly shadow: Shadow
  private readonly state: StatePublisher
  private readonly pools: Pools
  readonly secondOpinions: SecondOpinions | undefined
  /** Grows with every start without anything on disk, as long as the clock does. */
  private readonly boot = Math.floor(Date.now() / 1_000)
  private session: MqttSession | undefined
  private stopping: Promise<void> | undefined

  constructor(options: ServerAgentOptions) {
    super()
    const {
      server,
      host,
      maxBatch = 32,
      maxQueue = 256,
      maxQueueBytes = 67_108_864,
      stateIntervalMs = 3_000,
      poolIntervalMs,
      logger,
    } = options
    this.options = options
    this.maxBatch = maxBatch
    this.maxQueue = maxQueue
    this.dispatcher = new Dispatcher({
      agent: server,
      host,
      maxBatch,
      maxQueue,
      maxQueueBytes,
      maxDelayMs: options.maxDelayMs ?? 0,
      answer: (item, verdict) => {
        if (!this.askFurther(item, verdict)) this.answer(item, verdict)
        if (isRejected(verdict)) return
        const served = host.models.get(item.escalation.task)
        // Another model may have taken its place since.
        const classes = served?.model.digest === verdict.model.digest ? served.classes : undefined
        options.archiver?.offer(item, verdict, classes)
        this.shadow.offer(item, verdict)
      },
      measured: report => this.announce('batch', report),
      logger,
    })
    this.shadow = new Shadow({
      host,
      busy: () => this.dispatcher.queued() > 0,
      report: report => {
        const { id, address, shadow: model, answer } = report
        if (answer) options.archiver?.add({ id, ...address, role: 'shadow', model, ...answer })
        this.announce('shadow', report)
      },
      logger,
    })
    host.onChange(() => this.state.changed())
    this.pools = new Pools({
      publish: async (address, payload) =>
        payload ? this.session?.publish(address, payload) : this.session?.publishRaw(address, Buffer.alloc(0)),
      logger,
      intervalMs: poolIntervalMs,
    })
    this.secondOpinions =
      options.secondOpinion &&
      new SecondOpinions({
        ...options.secondOpinion,
        models: host.models,
        maxItems: maxQueue,
        maxBytes: maxQueueBytes,
        publish: async (address, escalation) => {
          if (!this.online) throw new FaultlineError('BROKER_UNREACHABLE', 'not connected')
          await this.session!.publish(address, escalation)
        },
        answer: (item, verdict) => {
          this.answer(item, verdict)
          if (isRejected(verdict) || verdict.agent === server) return
          const { id, label, confidence, model } = verdict
          options.archiver?.add({ id, ...item.replyTo, role: 'upstream', model, label, confidence })
        },
        logger,
      })
    this.state = new StatePublisher(() => this.publishOnline(), stateIntervalMs)
  }

  /** Messages of kinds that a later version of the contract may have, since the last start. */
  get unknownMessages(): number {
    return this.session?.unknownMessages ?? 0
  }

  get online(): boolean {
    return this.session?.online ?? false
  }

  /** Escalations that wait, in all or for one task. */
  queued(task?: string): number {
    return this.dispatcher.queued(task)
  }

  /** How long an escalation that came now would wait, in ms. */
  get waitMs(): number {
    return this.dispatcher.waitMs()
  }

  /** Why it should get no work now; none when it should. */
  notReady(): string[] {
    const { workers, models } = this.options.host
    const reasons: string[] = []
    if (!this.online) reasons.push('not connected to the broker')
    if (this.stopping) reasons.push('stopping')
    if (models.size === 0) reasons.push('no model is loaded')
    if (!workers.some(({ ready }) => ready)) reasons.push('no worker is ready')
    return reasons
  }

  /** Begins at once, with or without a connection. Throws the errors of a policy for second opinions. */
  async start(): Promise<void> {
    const { server, broker, logger } = this.options
    const session = new MqttSession({
      ...broker,
      identity: identityOf('server', server),
      // A broker that kept messages for an absent member would keep them from the others.
      clean: true,
      will: {
        address: { kind: 'server-state', server },
        payload: encodePayload('server-state', { online: false, boot: this.boot }),
      },
      subscriptions: [
        sharedFilter(group, topicFilter('escalation')),
        topicFilter('evidence'),
        topicFilter('pool'),
        ...(this.secondOpinions ? [topicFilter('upstream-verdict')] : []),
      ],
      onMessage: message => this.receive(message),
      logger,
    })
    this.session = session
    this.dispatcher.open()
    this.secondOpinions?.start()
    session.on('online', () => {
      this.state.now()
      this.announce('online')
    })
    session.on('offline', () => this.announce('offline'))
    session.on('cleared', address => this.pools.cleared(address))
    session.on('refused', (_, topic) => {
      if (parseTopic(topic)?.kind === 'escalation') this.counts.refused++
    })
    await session.start()
  }

  /** Takes nothing more, finishes what it has, then says goodbye. */
  async stop(): Promise<void> {
    this.stopping ??= this.end().finally(() => {
      this.stopping = undefined
    })
    await this.stopping
  }

  private async end(): Promise<void> {
    const { session } = this
    if (!session) return
    await session.unsubscribe()
    this.secondOpinions?.stop()
    await this.dispatcher.drain(this.options.drainMs ?? 10_000)
    this.shadow.stop()
    this.state.stop()
    this.pools.stop()
    this.publishState({ online: false, boot: this.boot, at: new Date().toISOString() })
    await session.stop()
    this.session = undefined
  }

  private receive(message: Message): void {
    if (message.kind === 'evidence') this.pools.receive(message)
    else if (message.kind === 'pool') this.pools.heard(message)
    else if (message.kind === 'escalation') this.take(message)
    else if (message.kind === 'upstream-verdict') this.secondOpinions?.receive(message)
  }

  private take(message: Extract<Message, { kind: 'escalation' }>): void {
    const { payload: escalation, address } = message
    const { site, device, point } = address
    const { id, task } = escalation
    this.options.logger.debug({ id, site, device, point, task }, 'escalation taken')
    const receivedAt = performance.now()
    this.dispatcher.offer({
      escalation,
      replyTo: { kind: 'verdict', site, device, point },
      receivedAt,
      expiresAt: receivedAt + patienceMs(escalation),
      bytes: escalation.window.bytes.byteLength + overheadBytes,
      deaths: 0,
    })
    // A queue that grows is news, too, while the model is still at its first batch.
    this.state.changed()
  }

  private answer({ replyTo, escalation }: QueuedEscalation, verdict: Verdict): void {
    const { logger } = this.options
    const { id } = verdict
    if (isRejected(verdict)) {
      this.counts.rejected++
      logger.debug({ id, rejected: verdict.rejected }, 'escalation rejected')
    } else {
      this.counts.answered++
      const { label, queueMs, inferMs } = verdict
      logger.debug({ id, label, queueMs, inferMs }, 'escalation answered')
    }
    this.session?.publish(replyTo, verdict).catch(error => {
      logger.warn({ id, error: toFaultlineError(error).message }, 'verdict not sent')
    })
    this.state.changed()
    this.announce('verdict', verdict, escalation.task)
  }

  /** The answer from here stands where a policy fails. */
  private askFurther(item: QueuedEscalation, verdict: Verdict): boolean {
    try {
      return this.secondOpinions?.ask(item, verdict) ?? false
    } catch (thrown) {
      this.options.logger.error({ id: verdict.id, error: toFaultlineError(thrown).message }, 'asking further up failed')
      return false
    }
  }

  private publishOnline(): void {
    try {
      this.publishState(this.onlineState())
    } catch (thrown) {
      this.options.logger.error({ error: toFaultlineError(thrown).message }, 'publishing the state failed')
    }
  }

  private onlineState(): ServerState {
    const { host } = this.options
    const models = [...host.models.values()]
    const stated = ({ model, task, engine, enginesRejected }: ServedModel) => ({
      ...model,
      task,
      role: 'server' as const,
      engine,
      enginesRejected: [...enginesRejected],
    })
    const shadows = [...host.shadows.values()].map(model => ({ ...stated(model), shadow: true as const }))
    const largest = Math.max(...models.map(({ times }) => times.best ?? this.maxBatch))
    return {
      online: true,
      at: new Date().toISOString(),
      boot: this.boot,
      agentVersion: version,
      contract: contractVersion,
      models: [...models.map(stated), ...shadows],
      capacity: {
        maxBatch: models.length > 0 ? Math.min(this.maxBatch, largest) : this.maxBatch,
        maxQueue: this.maxQueue,
      },
      load: {
        queued: this.queued(),
        answered: this.counts.answered,
        rejected: this.counts.rejected,
        windowsPerSecond: this.dispatcher.throughput.windowsPerSecond,
        waitMs: Math.ceil(this.waitMs),
      },
    }
  }

  private publishState(state: ServerState): void {
    const { server, logger } = this.options
    if (!this.online) return
    this.session?.publish({ kind: 'server-state', server }, state).catch(error => {
      logger.debug({ error: toFaultlineError(error).message }, 'state not published')
    })
  }

  /** A listener's mistake is not the agent's. */
  private announce<E extends keyof ServerAgentEvents>(event: E, ...args: ServerAgentEvents[E]): void {
    try {
      this.emit(event as keyof ServerAgentEvents, ...(args as ServerAgentEvents['verdict']))
    } catch (thrown) {
      this.options.logger.error({ event, error: toFaultlineError(thrown).message }, 'a listener failed')
    }
  }
}

/** What an escalation takes of memory beside its samples, about. */
const overheadBytes = 2_048

/**
 * How long the device waits for a verdict. Both times are the device's own, so that only their difference counts: a Pi
 * without a clock that keeps the time is served like any other.
 */
const patienceMs = ({ at, deadline }: Escalation): number => Date.parse(deadline) - Date.parse(at)
