import { Readable } from 'node:stream'
import { parseTopic } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { AedesPublishPacket, Client, Subscription } from 'aedes'
import type { BrokerCounts } from './counts.ts'

type Session = Pick<Client, 'id'>

/** A message on its way, or the PUBREL (MQTT 3.1.1, 3.6) that takes its place once the client has it. */
type Outgoing = AedesPublishPacket | { cmd: 'pubrel'; messageId: number }

/** The part of Aedes' persistence in memory that is replaced here; its types leave it out. */
export interface Persistence {
  addSubscriptions(client: Client, subscriptions: Subscription[]): Promise<void>
  cleanSubscriptions(client: Session): Promise<void>
  incomingStorePacket(client: Client, packet: AedesPublishPacket): Promise<void>
  cleanIncoming(client: Session): Promise<void>
  outgoingEnqueue(subscription: { clientId: string }, packet: AedesPublishPacket): Promise<void>
  outgoingEnqueueCombi(subscriptions: { clientId: string }[], packet: AedesPublishPacket): Promise<void>
  outgoingUpdate(client: Session, packet: Outgoing): Promise<void>
  outgoingClearMessageId(client: Session, packet: { messageId?: number }): Promise<Outgoing | undefined>
  outgoingStream(client: Session): Readable
}

export interface SessionQueuesOptions {
  limits: { queuedMessages: number; queuedBytes: number; absentSessionMs: number }
  /** Whether a session has its client now. */
  isConnected(clientId: string): boolean
  /** Whether a client has the right to a subscription that is to be stored. */
  maySubscribe(client: Client, filter: string): boolean
  counts: BrokerCounts
  logger: Logger
}

interface StoredSession {
  queue: SessionQueue
  /** Since when its client is known to be away, in ms of `performance.now()`. */
  absentSince: number | undefined
  /** Whether the log knows that messages are dropped. */
  overflowed: boolean
}

/**
 * Keeps stored sessions within limits. Aedes' persistence in memory queues without end for a client that never returns;
 * this takes the place of its queues, and of the methods that tell which sessions there are.
 */
export class SessionQueues {
  private readonly options: SessionQueuesOptions
  private readonly persistence: Persistence
  private readonly sessions = new Map<string, StoredSession>()
  private timer: NodeJS.Timeout | undefined

  constructor(persistence: Persistence, options: SessionQueuesOptions) {
    this.options = options
    this.persistence = persistence
    const { addSubscriptions, cleanSubscriptions, incomingStorePacket } = persistence
    Object.assign(persistence, {
      addSubscriptions: async (client, subscriptions) => {
        // Aedes stores all subscriptions of a packet when one of them is granted.
        const granted = subscriptions.filter(({ topic }) => options.maySubscribe(client, topic))
        this.session(client.id)
        await addSubscriptions.call(persistence, client, granted)
      },
      cleanSubscriptions: async client => {
        this.sessions.delete(client.id)
        await cleanSubscriptions.call(persistence, client)
      },
      incomingStorePacket: async (client, packet) => {
        if (!client.clean) this.session(client.id)
        await incomingStorePacket.call(persistence, client, packet)
      },
      outgoingEnqueue: async ({ clientId }, packet) => this.add(clientId, packet),
      outgoingEnqueueCombi: async (subscriptions, packet) => {
        for (const { clientId } of subscriptions) this.add(clientId, packet)
      },
      // A message or identifier that is no longer known was dropped here, and is no reason to end the connection.
      outgoingUpdate: async (client, packet) => this.sessions.get(client.id)?.queue.update(packet),
      outgoingClearMessageId: async (client, { messageId }) => this.sessions.get(client.id)?.queue.remove(messageId),
      outgoingStream: client => Readable.from(this.sessions.get(client.id)?.queue.packets() ?? []),
    } satisfies Omit<Persistence, 'cleanIncoming'>)
  }

  start(): void {
    const { absentSessionMs } = this.options.limits
    this.timer = setInterval(() => this.expire(), Math.min(absentSessionMs / 4, 60_000))
    this.timer.unref()
  }

  stop(): void {
    clearInterval(this.timer)
  }

  /** Ends the sessions of identities that are no more, with their clients or without. */
  endRevoked(isRevoked: (name: string) => boolean): void {
    for (const id of this.sessions.keys()) {
      const owner = ownerOf(id)
      if (owner !== undefined && isRevoked(owner)) this.end(id, 'its identity was revoked')
    }
  }

  private session(clientId: string): StoredSession {
    let session = this.sessions.get(clientId)
    if (!session) {
      session = { queue: new SessionQueue(), absentSince: undefined, overflowed: false }
      this.sessions.set(clientId, session)
    }
    return session
  }

  private add(clientId: string, packet: AedesPublishPacket): void {
    const { limits, counts, logger } = this.options
    const session = this.session(clientId)
    const dropped = session.queue.add(packet, limits.queuedMessages, limits.queuedBytes)
    counts.droppedQueued += dropped
    if (dropped > 0 && !session.overflowed) {
      session.overflowed = true
      logger.warn({ clientId }, 'the queue of a stored session is full: its oldest messages are dropped')
    }
  }

  private expire(): void {
    const now = performance.now()
    for (const [id, session] of this.sessions) {
      if (this.options.isConnected(id)) {
        session.absentSince = undefined
        session.overflowed = false
        continue
      }
      session.absentSince ??= now
      if (now - session.absentSince >= this.options.limits.absentSessionMs) this.end(id, 'its client stayed away')
    }
  }

  private end(id: string, reason: string): void {
    const { counts, logger } = this.options
    counts.expiredSessions++
    const messages = this.sessions.get(id)?.queue.size
    logger.info({ clientId: id, messages, reason }, 'a stored session ended')
    const failed = (error: Error) => logger.error({ clientId: id, error: error.message }, 'a stored session remains')
    this.persistence.cleanSubscriptions({ id }).catch(failed)
    this.persistence.cleanIncoming({ id }).catch(failed)
  }
}

interface Queued {
  packet: Outgoing
  bytes: number
  /** It tells a device what to do: nothing else says so again, as there is always more telemetry. */
  order: boolean
}

/** What one session has still to get or to acknowledge, oldest first. */
class SessionQueue {
  /** By the stamp Aedes gives each message, which its copies keep. */
  private readonly queued = new Map<string, Queued>()
  private bytes = 0

  get size(): number {
    return this.queued.size
  }

  /** A copy: packets are acknowledged while they are read. */
  packets(): Outgoing[] {
    return [...this.queued.values()].map(({ packet }) => packet)
  }

  /** Returns how many messages were dropped for it. */
  add(packet: AedesPublishPacket, maximumMessages: number, maximumBytes: number): number {
    const bytes = packet.topic.length + packet.payload.length
    if (bytes > maximumBytes) return 1
    const { cmd, brokerId, brokerCounter, topic, payload, qos, retain, dup } = packet
    // A copy of its own, because each session gives it an identifier of its own.
    const copy: AedesPublishPacket = { cmd, brokerId, brokerCounter, topic, payload, qos, retain, dup }
    this.queued.set(stampOf(packet), { packet: copy, bytes, order: isOrder(topic) })
    this.bytes += bytes
    let dropped = 0
    while (this.queued.size > maximumMessages || this.bytes > maximumBytes) {
      this.forget(this.leastMissed())
      dropped++
    }
    return dropped
  }

  update(packet: Outgoing): void {
    if (packet.cmd === 'publish') {
      const queued = this.queued.get(stampOf(packet))
      if (queued) queued.packet.messageId = packet.messageId
    } else {
      const entry = this.find(packet.messageId)
      if (entry) entry[1].packet = packet
    }
  }

  remove(messageId: number | undefined): Outgoing | undefined {
    // Aedes asks without one when it passes over a copy of what it has just sent: that is still to be acknowledged.
    const entry = messageId === undefined ? undefined : this.find(messageId)
    if (entry) this.forget(entry[0])
    return entry?.[1].packet
  }

  /** Clients acknowledge in order, so this does not look far. */
  private find(messageId: number): [string, Queued] | undefined {
    for (const entry of this.queued) if (entry[1].packet.messageId === messageId) return entry
    return undefined
  }

  private leastMissed(): string {
    for (const [stamp, { order }] of this.queued) if (!order) return stamp
    return this.queued.keys().next().value!
  }

  private forget(stamp: string): void {
    this.bytes -= this.queued.get(stamp)!.bytes
    this.queued.delete(stamp)
  }
}

/** The identity a stored session belongs to: its client id is that name, or for an operator's tool one below it. */
export function ownerOf(clientId: string): string | undefined {
  const [stem, first, second] = clientId.split('/')
  if (first === undefined) return undefined
  return stem === 'devices' && second !== undefined ? `${stem}/${first}/${second}` : `${stem}/${first}`
}

const stampOf = ({ brokerId, brokerCounter }: AedesPublishPacket): string => `${brokerId}:${brokerCounter}`

function isOrder(topic: string): boolean {
  const kind = parseTopic(topic)?.kind
  return kind === 'command' || kind === 'config-desired'
}
