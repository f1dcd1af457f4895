import { Readable } from 'node:stream'
import { covers, toFaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { Aedes, AedesPublishPacket, Subscription } from 'aedes'
import { decode, encode } from 'cbor-x'
import type { Redis } from 'ioredis'
import { decodeMessage, encodeMessage, stampOf } from '../cluster/message-codec.ts'
import { prefix, type RedisLink, readJson } from '../cluster/redis.ts'
import { optionsOf, type SubscriptionChange, SubscriptionIndex } from '../cluster/subscription-index.ts'
import type { Will } from './messages.ts'
import type { BrokerPersistence, Done, PersistenceOptions, Session, Stamp } from './persistence.ts'
import { boundsOf, type DropReason, type Outgoing, type QueueLimits } from './queues.ts'
import { Stamps } from './stamps.ts'
import type { StoredSubscription } from './subscriptions.ts'

export interface RedisPersistenceOptions extends PersistenceOptions {
  link: RedisLink
  /** Messages that a member of a group may have unacknowledged. */
  sharedInFlight: number
  logger: Logger
}

/** What a message is taken for besides the sessions that subscribe to it. */
interface Incoming {
  client: string
  messageId: number
}

const figuresMs = 5_000
/** A change that was announced and is not here after so long is read instead. */
const announcedMs = 500

/**
 * What Aedes keeps of sessions and messages, in a Redis that several brokers share. A message is stored for everything
 * it is for by one script, which Redis runs as a whole, and is acknowledged after that. Figures are a few seconds old.
 * What a broker says of itself (`$SYS/…`) stays with it.
 */
export class RedisPersistence implements BrokerPersistence {
  queued = { messages: 0, bytes: 0 }
  deepestQueue = 0
  retainedMessages = 0
  private readonly options: RedisPersistenceOptions
  private readonly stamps = new Stamps()
  private readonly index = new SubscriptionIndex()
  private readonly announcements: Redis
  private readonly own = new Map<string, AedesPublishPacket>()
  private catchingUp: Promise<void> | undefined
  private caughtUp: (() => void) | undefined
  private timer: NodeJS.Timeout | undefined

  constructor(options: RedisPersistenceOptions) {
    this.options = options
    this.announcements = options.link.connection()
  }

  async open(): Promise<void> {
    const { link, logger } = this.options
    await link.start()
    const reload = () => {
      this.load().catch(error => logger.debug({ error: error.message }, 'reading subscriptions from Redis failed'))
    }
    await this.announcements.subscribe(`${prefix}subscriptions`)
    this.announcements.on('message', (_, text) => {
      const change = readJson<SubscriptionChange>(text)
      if (change && this.index.apply(change)) this.caughtUp?.()
      else reload()
    })
    // What was announced while it was away is lost.
    this.announcements.on('ready', reload)
    await this.load()
    await this.measure()
    this.timer = setInterval(() => {
      this.measure().catch(error => logger.debug({ error: error.message }, 'reading queue sizes from Redis failed'))
    }, figuresMs)
    this.timer.unref()
  }

  async setup(aedes: Pick<Aedes, 'id'> & { counter: number }): Promise<void> {
    this.stamps.setup(aedes)
    if (!this.timer) await this.open()
  }

  async destroy(): Promise<void> {
    clearInterval(this.timer)
    this.timer = undefined
    this.options.link.stop()
  }

  get broker(): Pick<Aedes, 'id'> {
    return this.stamps.broker
  }

  get subscriptions(): number {
    return this.index.count
  }

  async sessions(): Promise<Set<string>> {
    const { db } = this.options.link
    const [clients, incoming, queues] = await Promise.all([
      db.smembers(`${prefix}clients`),
      db.smembers(`${prefix}incoming`),
      db.hkeys(`${prefix}counts`),
    ])
    return new Set([...clients, ...incoming, ...queues])
  }

  async end(id: string): Promise<void> {
    await this.reach(await this.options.link.run('finish', id))
  }

  async findQueued(id: string, stamp: Stamp): Promise<Outgoing | undefined> {
    const message = await this.options.link.db.hgetBuffer(`${prefix}messages:${id}`, stampOf(stamp))
    return message ? decodeMessage(message, stampOf(stamp)) : undefined
  }

  async removeQueued(id: string, stamp: Stamp): Promise<void> {
    await this.options.link.run('remove', id, stampOf(stamp))
  }

  async expireQueued(): Promise<void> {
    const { link, limits } = this.options
    this.count(await link.run('expire', limits.queuedMs), 'queue-age')
    await this.measure()
  }

  store(packet: AedesPublishPacket, done: Done): void {
    this.stamps.stamp(packet)
    this.keep(packet).then(
      () => {
        this.stamps.remember(packet)
        done(null)
      },
      thrown => done(failure(thrown)),
    )
  }

  async storeRetained(packet: AedesPublishPacket): Promise<void> {
    const { topic, payload } = packet
    if (this.stamps.isStored(packet)) return
    const { db } = this.options.link
    if (topic.startsWith('$SYS/')) {
      if (payload.length > 0) this.own.set(topic, packet)
      else this.own.delete(topic)
    } else if (payload.length > 0) await db.hset(`${prefix}retained`, topic, encodeMessage(packet))
    else await db.hdel(`${prefix}retained`, topic)
  }

  createRetainedStream(filter: string): Readable {
    return this.createRetainedStreamCombi([filter])
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(this.readWhileThere(filters))
  }

  async addSubscriptions(client: Session, subscriptions: readonly Subscription[]): Promise<void> {
    const { id } = client
    const granted = subscriptions.filter(({ topic }) => this.options.isGranted(client, topic))
    const parameters = granted.flatMap(subscription => [subscription.topic, optionsOf(subscription)])
    if (granted.length > 0) await this.reach(await this.options.link.run('subscribe', id, ...parameters))
  }

  async removeSubscriptions({ id }: Session, topics: readonly string[]): Promise<void> {
    await this.reach(await this.options.link.run('unsubscribe', id, ...topics))
  }

  async subscriptionsByClient({ id }: Session): Promise<Subscription[]> {
    const found = await this.options.link.db.hgetall(`${prefix}subs:${id}`)
    return Object.entries(found).map(([topic, options]) => ({ topic, ...JSON.parse(options) }))
  }

  async subscriptionsByTopic(topic: string): Promise<StoredSubscription[]> {
    return this.index.matching(topic)
  }

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    return { subsCount: this.index.count, clientsCount: this.index.clients().length }
  }

  getClientList(topic: string): Readable {
    return Readable.from(this.index.clientsOf(topic))
  }

  async cleanSubscriptions({ id }: Session): Promise<void> {
    await this.end(id)
  }

  async outgoingEnqueue({ clientId }: { clientId: string }, packet: AedesPublishPacket): Promise<void> {
    await this.keepFor([clientId], packet)
  }

  async outgoingEnqueueCombi(to: readonly { clientId: string }[], packet: AedesPublishPacket): Promise<void> {
    if (this.stamps.isStored(packet)) this.stamps.forget(packet)
    else if (to.length > 0) await this.keepFor(sessionsOf(to), packet)
  }

  async outgoingUpdate({ id }: Session, packet: Outgoing): Promise<void> {
    const { link } = this.options
    if (packet.cmd === 'pubrel') await link.run('release', id, packet.messageId)
    else await link.run('sent', id, stampOf(packet), (packet as { messageId?: number }).messageId ?? 0)
  }

  async outgoingClearMessageId({ id }: Session, { messageId }: { messageId?: number }): Promise<Outgoing | undefined> {
    // Aedes asks without one when it passes over a copy of what it has just sent: that is still to be acknowledged.
    if (messageId === undefined) return undefined
    const [message, stamp] = (await this.options.link.runBuffer('acknowledge', id, messageId)) as Buffer[]
    return message && decodeMessage(message, String(stamp), messageId)
  }

  outgoingStream({ id }: Session): Readable {
    return Readable.from(this.readQueue(id))
  }

  async incomingStorePacket({ id }: Session, packet: AedesPublishPacket & { messageId?: number }): Promise<void> {
    this.stamps.stamp(packet)
    await this.keep(packet, { client: id, messageId: packet.messageId! })
    this.stamps.remember(packet)
  }

  async incomingGetPacket({ id }: Session, { messageId }: { messageId: number }): Promise<AedesPublishPacket> {
    const message = await this.options.link.db.hgetBuffer(`${prefix}incoming:${id}`, String(messageId))
    if (!message) throw new Error('no such packet')
    const { brokerId: _, brokerCounter: __, ...packet } = decodeMessage(message, ':', messageId) as AedesPublishPacket
    return packet as AedesPublishPacket
  }

  async incomingDelPacket({ id }: Session, { messageId }: { messageId: number }): Promise<void> {
    await this.options.link.db.hdel(`${prefix}incoming:${id}`, String(messageId))
  }

  async cleanIncoming({ id }: Session): Promise<void> {
    await this.options.link.db.multi().del(`${prefix}incoming:${id}`).srem(`${prefix}incoming`, id).exec()
  }

  async putWill({ id }: Session, will: Omit<Will, 'clientId'>): Promise<void> {
    Object.assign(will, { clientId: id, brokerId: this.broker.id })
    const { topic, payload, qos, retain } = will
    const kept: Will = { topic, payload, qos, retain, clientId: id, brokerId: this.broker.id }
    await this.options.link.db.hset(`${prefix}wills`, id, encode(kept))
  }

  async getWill({ id }: Session): Promise<Will | undefined> {
    const will = await this.options.link.db.hgetBuffer(`${prefix}wills`, id)
    return will ? (decode(will) as Will) : undefined
  }

  async delWill({ id, brokerId }: Session & { brokerId?: string }): Promise<Will | undefined> {
    // Aedes does not expect this to fail; the will is replaced, or published for a client that is gone.
    const will = await this.getWill({ id }).catch(() => undefined)
    // A client that went to another broker has another will by now.
    if (will && brokerId !== undefined && will.brokerId !== brokerId) return undefined
    if (will) await this.options.link.db.hdel(`${prefix}wills`, id).catch(() => {})
    return will
  }

  streamWill(alive: Readonly<Record<string, unknown>> = {}): Readable {
    return Readable.from(this.readWills(alive))
  }

  /** Stores a message for all it is for, once the subscriptions it was matched with are the present ones. */
  private async keep(packet: AedesPublishPacket, incoming?: Incoming): Promise<void> {
    for (;;) {
      const { version } = this.index
      const sessions = sessionsOf(this.index.matching(packet.topic))
      if (await this.tryKeep(sessions, packet, version, incoming)) return
      if (this.index.version === version) await this.catchUp()
    }
  }

  /** Stores a message for sessions that somebody else has found. */
  private async keepFor(sessions: readonly string[], packet: AedesPublishPacket): Promise<void> {
    for (;;) {
      const { version } = this.index
      if (await this.tryKeep(sessions, { ...packet, retain: false }, version, undefined, packet.retain)) return
      if (this.index.version === version) await this.catchUp()
    }
  }

  private async tryKeep(
    sessions: readonly string[],
    packet: AedesPublishPacket,
    version: number,
    incoming?: Incoming,
    retain = packet.retain,
  ): Promise<boolean> {
    const { link, limits, sharedInFlight } = this.options
    const message = encodeMessage({ ...packet, retain })
    const [topic, retained] = packet.retain ? [packet.topic, packet.payload.length > 0 ? message : ''] : ['', '']
    const { client = '', messageId = '' } = incoming ?? {}
    const drops = await link.run(
      'keep',
      ...[version, stampOf(packet), message, sharedInFlight, topic, retained],
      ...[client, messageId, incoming ? message : '', ...sessions.flatMap(id => boundedSession(limits, id))],
    )
    if ((drops as number[])[0] === -1) return false
    this.count(drops, 'queue-full')
    return true
  }

  /** Resolves once a change is known here. */
  private async reach(version: unknown): Promise<void> {
    while (this.index.version < (version as number)) await this.catchUp()
  }

  /** Resolves when a change that is on its way has come. */
  private catchUp(): Promise<void> {
    this.catchingUp ??= new Promise<void>(resolve => {
      const timer = setTimeout(() => {
        this.load().then(resolve, resolve)
      }, announcedMs)
      this.caughtUp = () => {
        clearTimeout(timer)
        resolve()
      }
    }).finally(() => {
      this.catchingUp = undefined
      this.caughtUp = undefined
    })
    return this.catchingUp
  }

  private async load(): Promise<void> {
    this.index.load((await this.options.link.run('subscriptions')) as string[])
    this.caughtUp?.()
  }

  private async measure(): Promise<void> {
    const { db } = this.options.link
    const [counts, bytes, retained] = await Promise.all([
      db.hvals(`${prefix}counts`),
      db.hvals(`${prefix}bytes`),
      db.hlen(`${prefix}retained`),
    ])
    const sum = (values: string[]) => values.reduce((total, value) => total + Number(value), 0)
    this.queued = { messages: sum(counts), bytes: sum(bytes) }
    this.deepestQueue = Math.max(0, ...counts.map(Number))
    this.retainedMessages = retained + this.own.size
  }

  /** A script's session and number of drops, in turns. */
  private count(answer: unknown, reason: DropReason): void {
    const drops = answer as (string | number)[]
    for (let i = 0; i + 1 < drops.length; i += 2) this.options.dropped(String(drops[i]), reason, Number(drops[i + 1]))
  }

  /** Aedes does not expect this to fail. The clients are ended when Redis is back, and ask again. */
  private async *readWhileThere(filters: readonly string[]): AsyncGenerator<AedesPublishPacket> {
    try {
      yield* this.readRetained(filters)
    } catch (thrown) {
      this.options.logger.debug({ error: (thrown as Error).message }, 'reading retained messages from Redis failed')
    }
  }

  private async *readRetained(filters: readonly string[]): AsyncGenerator<AedesPublishPacket> {
    const { db } = this.options.link
    const given = (topic: string) => filters.some(filter => covers(filter, topic))
    for (const [topic, packet] of this.own) if (given(topic)) yield packet
    const plain = filters.filter(filter => !/[+#]/.test(filter))
    if (plain.length === filters.length) {
      for (const message of plain.length > 0 ? await db.hmgetBuffer(`${prefix}retained`, ...plain) : []) {
        if (message) yield retainedOf(message)
      }
      return
    }
    const seen = new Set<string>() // A scan may meet an entry twice.
    for await (const found of db.hscanBufferStream(`${prefix}retained`, { count: 1_000 }) as AsyncIterable<Buffer[]>) {
      for (let i = 0; i < found.length; i += 2) {
        const topic = found[i]!.toString()
        if (seen.has(topic) || !given(topic)) continue
        seen.add(topic)
        yield retainedOf(found[i + 1]!)
      }
    }
  }

  /** In pages: Redis does nothing else while it looks for one. Ends where the queue ended when reading began. */
  private async *readQueue(id: string): AsyncGenerator<Outgoing> {
    const { link } = this.options
    let [after, end] = ['0', '']
    for (;;) {
      const [last, ...page] = (await link.run('queue', id, after, end)) as string[]
      if (page.length === 0) return
      const stamps = page.filter((_, i) => i % 3 === 0)
      const messages = await link.db.hmgetBuffer(`${prefix}messages:${id}`, ...stamps)
      for (const [i, message] of messages.entries()) {
        const messageId = page[3 * i + 2]
        if (message) yield decodeMessage(message, stamps[i]!, messageId ? Number(messageId) : undefined)
      }
      after = page.at(-2)!
      end = last!
    }
  }

  private async *readWills(alive: Readonly<Record<string, unknown>>): AsyncGenerator<Will> {
    for (const bytes of await this.options.link.db.hvalsBuffer(`${prefix}wills`)) {
      const will = decode(bytes) as Will
      if (!alive[will.brokerId ?? '']) yield will
    }
  }
}

function boundedSession(limits: QueueLimits, id: string): [id: string, messages: number, bytes: number] {
  const { messages, bytes } = boundsOf(limits, id)
  return [id, messages, bytes]
}

/** A session whose filters overlap has a message once. */
const sessionsOf = (subscriptions: readonly { clientId: string }[]): string[] => [
  ...new Set(subscriptions.map(({ clientId }) => clientId)),
]

function retainedOf(message: Buffer): AedesPublishPacket {
  const { topic, payload, qos } = decodeMessage(message, ':') as AedesPublishPacket
  return { cmd: 'publish', topic, payload, qos, retain: true } as AedesPublishPacket
}

const failure = (thrown: unknown): Error => toFaultlineError(thrown, 'REDIS_UNREACHABLE', 'not stored')
