import { EventEmitter } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  delivery,
  FaultlineError,
  type Identity,
  type Message,
  type Payload,
  type TopicAddress,
  type TopicKind,
  type TopicNames,
  toFaultlineError,
  topicFilter,
  topicOf,
} from '@faultline/protocol'
import { type BrokerAccess, type Logger, MqttSession, type Service } from '@faultline/runtime'

export interface BrokerLinkOptions extends BrokerAccess {
  identity: Identity
  logger: Logger
}

export type MessageHandler = (message: Message) => void

interface LinkEvents {
  online: []
  offline: []
  /** Somebody cleared a retained message; it is not handed to users that come late any more. */
  cleared: [address: TopicAddress]
  /** The retained messages that were waiting at the broker have arrived. */
  settled: []
  refused: [error: FaultlineError, topic: string]
  /** Why it is not online, or what a handler threw. */
  problem: [error: FaultlineError]
}

/**
 * Retained messages follow the subscription at once; after so many of these pauses without one, all of them are here. Several,
 * because a single timer that comes late fires before what has arrived meanwhile is read.
 */
const quiet = { pauseMs: 100, pauses: 5 }
/** Not even a busy fleet keeps its users waiting for longer. */
const maxWaitMs = 5_000

/**
 * One connection to the broker for many users. It subscribes to the kinds of message its users ask for and to no more
 * (raw windows stay where they are unless somebody wants them), and gives a user that comes late the retained
 * messages the others have had already.
 */
export class BrokerLink extends EventEmitter<LinkEvents> implements Service {
  private readonly options: BrokerLinkOptions
  private readonly handlers = new Set<{ kinds: ReadonlySet<TopicKind>; handler: MessageHandler }>()
  private readonly retained = new Map<string, Message>()
  private subscribed = new Set<TopicKind>()
  private session: MqttSession | undefined
  private connecting = false
  private change: Promise<void> = Promise.resolve()
  private pause: NodeJS.Timeout | undefined
  private settleBy = 0
  private isSettled = false
  private stopped = false

  constructor(options: BrokerLinkOptions) {
    super()
    this.setMaxListeners(0)
    this.options = options
  }

  get identity(): Identity {
    return this.options.identity
  }

  get online(): boolean {
    return this.session?.online ?? false
  }

  /** True once what was retained at the broker is known. */
  get settled(): boolean {
    return this.isSettled
  }

  /** Users that come in the same turn share one connection attempt. */
  async start(): Promise<void> {
    this.connect()
  }

  async stop(): Promise<void> {
    this.stopped = true
    clearTimeout(this.pause)
    await this.change
    await this.session?.stop()
    this.session = undefined
  }

  /** Calls the handler for every message of the kinds, those retained so far first. Returns a function that ends it. */
  subscribe(kinds: Iterable<TopicKind>, handler: MessageHandler): () => void {
    const entry = { kinds: new Set(kinds), handler }
    for (const message of this.retained.values()) if (entry.kinds.has(message.kind)) handler(message)
    this.handlers.add(entry)
    if ([...entry.kinds].some(kind => !this.subscribed.has(kind))) {
      this.isSettled = false
      this.connect()
    }
    return () => this.handlers.delete(entry)
  }

  /** As `MqttSession.publish`. */
  async publish<K extends TopicKind>(address: Extract<TopicAddress, { kind: K }>, payload: Payload<K>): Promise<void> {
    if (delivery[address.kind].retain) {
      // The cache must not wait for the echo: a node deployed in between would start from the state before.
      this.retained.set(topicOf(address), { kind: address.kind, address, payload } as unknown as Message)
    }
    await this.change
    if (!this.session) throw new FaultlineError('BROKER_UNREACHABLE', `not connected to ${this.options.url}`)
    await this.session.publish(address, payload)
  }

  private connect(): void {
    if (this.stopped || this.connecting) return
    this.connecting = true
    // Whatever is published from now on waits for this, too.
    this.change = this.change
      .then(() => nextTurn())
      .then(() => {
        this.connecting = false
        return this.open()
      })
      .catch(error => this.fail(error))
  }

  private async open(): Promise<void> {
    const kinds = new Set(this.subscribed)
    for (const entry of this.handlers) for (const kind of entry.kinds) kinds.add(kind)
    if (this.stopped || (this.session && kinds.size === this.subscribed.size)) return
    await this.session?.stop()
    clearTimeout(this.pause)
    this.subscribed = kinds
    const session = new MqttSession({
      ...this.options,
      subscriptions: [...kinds].map(kind => topicFilter(kind, this.own)),
      onMessage: message => this.receive(message),
    })
    session.on('online', () => {
      this.settleBy = performance.now() + maxWaitMs
      this.emit('online')
      this.awaitQuiet()
    })
    session.on('offline', () => this.emit('offline'))
    session.on('cleared', address => {
      this.retained.delete(topicOf(address))
      this.emit('cleared', address)
    })
    session.on('problem', error => this.emit('problem', error))
    session.on('refused', (error, topic) => this.emit('refused', error, topic))
    this.session = session
    await session.start()
  }

  private receive(message: Message): void {
    if (delivery[message.kind].retain) {
      this.retained.set(topicOf(message.address), message)
      if (!this.isSettled && this.online) this.awaitQuiet()
    }
    for (const { kinds, handler } of [...this.handlers]) {
      if (!kinds.has(message.kind)) continue
      try {
        handler(message)
      } catch (error) {
        this.fail(error)
      }
    }
  }

  /** A device may listen only to what is its own; the filters of others leave its names open. */
  private get own(): TopicNames {
    const { role, site, id } = this.options.identity
    return role === 'device' ? { site, device: id } : {}
  }

  private awaitQuiet(pauses = quiet.pauses): void {
    if (this.isSettled) return
    clearTimeout(this.pause)
    const isLast = pauses <= 1 || performance.now() >= this.settleBy
    this.pause = setTimeout(() => {
      if (!isLast) return this.awaitQuiet(pauses - 1)
      this.isSettled = true
      this.emit('settled')
    }, quiet.pauseMs)
  }

  private fail(thrown: unknown): void {
    this.emit('problem', toFaultlineError(thrown))
  }
}
