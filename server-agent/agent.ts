import { EventEmitter } from 'node:events'
import {
  encodePayload,
  identityOf,
  isRejected,
  type LoadedModel,
  type Message,
  parseTopic,
  type ServerState,
  sharedFilter,
  toFaultlineError,
  topicFilter,
  type Verdict,
} from '@faultline/protocol'
import { type BrokerAccess, type Logger, MqttSession, type Service, version } from '@faultline/runtime'
import { Batcher } from './batcher.ts'
import type { ServerModel } from './model.ts'
import { Pools } from './pools.ts'
import { EscalationQueue, type QueuedEscalation } from './queue.ts'
import { StatePublisher } from './state-publisher.ts'
import { Throughput } from './throughput.ts'

export interface ServerAgentOptions {
  server: string
  broker: BrokerAccess & { backOff?: { initialMs: number; maximumMs: number } }
  /** Models by task; not disposed of by the agent. */
  classifiers: ReadonlyMap<string, ServerModel>
  /** Engines tried before the one in use, by task, for the state message. */
  enginesRejected?: ReadonlyMap<string, LoadedModel['enginesRejected']>
  maxBatch?: number
  maxQueue?: number
  /** The state message follows the load, at most this often. */
  stateIntervalMs?: number
  /** How long evidence gathers before pools are published. */
  poolIntervalMs?: number
  logger: Logger
}

interface ServerAgentEvents {
  online: []
  offline: []
  /** An escalation was answered or rejected. */
  verdict: [verdict: Verdict]
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
  private readonly queue: EscalationQueue
  private readonly throughput = new Throughput()
  private readonly batcher: Batcher
  private readonly state: StatePublisher
  private readonly pools: Pools
  /** Grows with every start without anything on disk, as long as the clock does. */
  private readonly boot = Math.floor(Date.now() / 1_000)
  private session: MqttSession | undefined
  private stopping: Promise<void> | undefined

  constructor(options: ServerAgentOptions) {
    super()
    const { server, classifiers, maxBatch = 32, maxQueue = 256, stateIntervalMs = 3_000, poolIntervalMs } = options
    this.options = options
    this.maxBatch = maxBatch
    this.maxQueue = maxQueue
    this.queue = new EscalationQueue(maxQueue)
    this.batcher = new Batcher({
      agent: server,
      queue: this.queue,
      models: classifiers,
      maxBatch,
      throughput: this.throughput,
      answer: (item, verdict) => this.answer(item, verdict),
      logger: options.logger,
    })
    this.pools = new Pools({
      publish: async (address, payload) =>
        payload ? this.session?.publish(address, payload) : this.session?.publishRaw(address, Buffer.alloc(0)),
      logger: options.logger,
      intervalMs: poolIntervalMs,
    })
    this.state = new StatePublisher(() => this.publishState(this.onlineState()), stateIntervalMs)
  }

  get online(): boolean {
    return this.session?.online ?? false
  }

  /** Begins at once, with or without a connection. */
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
      subscriptions: [sharedFilter(group, topicFilter('escalation')), topicFilter('evidence'), topicFilter('pool')],
      onMessage: message => this.receive(message),
      logger,
    })
    this.session = session
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
    await this.batcher.drained()
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
  }

  private take(message: Extract<Message, { kind: 'escalation' }>): void {
    const { site, device, point } = message.address
    const item: QueuedEscalation = {
      escalation: message.payload,
      replyTo: { kind: 'verdict', site, device, point },
      receivedAt: performance.now(),
    }
    if (this.queue.offer(item)) {
      this.batcher.wake()
      // A queue that grows is news, too, while the model is still at its first batch.
      this.state.changed()
    } else {
      const retryAfterMs = this.throughput.expectedMs(this.queue.size)
      const { id } = message.payload
      this.answer(item, { id, rejected: 'overloaded', agent: this.options.server, retryAfterMs })
    }
  }

  private answer({ replyTo }: QueuedEscalation, verdict: Verdict): void {
    if (isRejected(verdict)) this.counts.rejected++
    else this.counts.answered++
    this.session?.publish(replyTo, verdict).catch(error => {
      this.options.logger.warn({ id: verdict.id, error: toFaultlineError(error).message }, 'verdict not sent')
    })
    this.state.changed()
    this.announce('verdict', verdict)
  }

  private onlineState(): ServerState {
    const { classifiers, enginesRejected } = this.options
    return {
      online: true,
      at: new Date().toISOString(),
      boot: this.boot,
      agentVersion: version,
      models: [...classifiers].map(([task, { model, engine }]) => ({
        ...model,
        task,
        role: 'server',
        engine,
        enginesRejected: enginesRejected?.get(task) ?? [],
      })),
      capacity: { maxBatch: this.maxBatch, maxQueue: this.maxQueue },
      load: {
        queued: this.queue.size,
        answered: this.counts.answered,
        rejected: this.counts.rejected,
        windowsPerSecond: this.throughput.windowsPerSecond,
        waitMs: this.throughput.expectedMs(this.queue.size),
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
      this.emit(event as keyof ServerAgentEvents, ...(args as [Verdict]))
    } catch (thrown) {
      this.options.logger.error({ event, error: toFaultlineError(thrown).message }, 'a listener failed')
    }
  }
}
