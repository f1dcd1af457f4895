import { covers, FaultlineError } from '@faultline/protocol'
import type { AedesPublishPacket, Client } from 'aedes'
import { type Packet, writeToStream } from 'mqtt-packet'
import type { BrokerPersistence } from './persistence/persistence.ts'
import type { Outgoing } from './persistence/queues.ts'

type Qos = 0 | 1 | 2
type Stamped = AedesPublishPacket & { messageId?: number | undefined }
type Deliver = (packet: Stamped, done: () => void) => void

/** The parts of Aedes' client that its types leave out. */
type DeliveringClient = Client & {
  /** CONNACK was written. */
  readonly connackSent: boolean
  readonly subscriptions: Record<string, { qos: Qos }>
  _nextId: number
  deliver0: Deliver
  deliverQoS: Deliver
  waitForDrain(drained: () => void): void
}

export interface DeliveryOptions {
  /** Bytes that may wait for a client that reads slowly. */
  outboundBytes: number
  /** Reads and changes the queue of a stored session. */
  queue: Pick<BrokerPersistence, 'outgoingEnqueue' | 'outgoingUpdate' | 'outgoingClearMessageId' | 'outgoingStream'>
  retained: BrokerPersistence['createRetainedStreamCombi']
  /** Identifies a retained message that becomes one of a session's queue. */
  stamp(): { brokerId: string; brokerCounter: number }
  sent(packet: Pick<AedesPublishPacket, 'topic' | 'payload'>): void
  /** A message of QoS 0 was not sent because its client is behind. */
  dropped(client: Client): void
  /** A client is too far behind for what it has to get. */
  tooSlow(client: Client): void
}

/** Far fewer than there are packet identifiers, so that one is always found. */
const maxInFlight = 32_767
/** How much of a queue is on its way into the store and onto the connection at a time. */
const maxResuming = 64
/** How many messages of QoS 1 and 2 a client may have unacknowledged while it is sent retained ones. */
const maxRetainedInFlight = 100

/** What has an identifier and no place in the client's own queue: a copy for a group, or a PUBREL. */
const copy = 'copy'
const release = 'release'

const shareOrigin = '/share'
const retainedOrigin = '/retained'

/** Broker ids of copies, which are counted apart from the messages they are of. */
export const shareOriginOf = (brokerId: string): string => `${brokerId}${shareOrigin}`
export const retainedOriginOf = (brokerId: string): string => `${brokerId}${retainedOrigin}`

/**
 * Hands one client its messages, in place of Aedes.
 *
 * - No client waits for another. What a client leaves unread is bounded: above the bound it misses messages of QoS 0, and for
 *   one of QoS 1 or 2, which it must not miss, its connection ends; a stored session gets it when it returns.
 * - A message comes once, at the highest QoS of the subscriptions that match it (MQTT 3.1.1, 3.3.5-1).
 * - What a stored session has to get is in its queue before it comes here. It is sent with the identifier that the queue
 *   holds by then, and sent again with the same one and DUP (3.3.1-1), so that a client knows what it has (4.3.3). While the
 *   queue is being sent, what is new waits in it.
 * - A retained message is not sent after a newer one of its topic.
 */
export class Delivery {
  private readonly client: DeliveringClient
  private readonly options: DeliveryOptions
  /** The last message that came, as every filter that matches it brings it once, one right after the other. */
  private lastOrigin: string | undefined
  private lastCounter: number | undefined
  private unread = 0
  /** Packet identifiers in use, and the stamps of what they were given to. */
  private readonly inFlight = new Map<number, string>()
  /** Stamps of the queue's messages that this connection was sent. */
  private readonly sent = new Set<string>()
  /** Whether the queue of a stored session is being sent, and has something that was not. */
  private resuming = true
  private behind = false
  /** Something in the queue waits for an identifier; one was given back. */
  private waits = false
  private freed = false
  /** While resuming: what was acknowledged, of this connection and of the one before it. */
  private readonly finished: string[] = []
  private readonly settled = new Set<number>()
  /** Topics that had a message since a snapshot of retained ones was begun; one set for each snapshot. */
  private readonly snapshots = new Set<Set<string>>()
  private watchers: (() => void)[] = []

  /** For a client that has no subscriptions yet. */
  constructor(client: Client, options: DeliveryOptions) {
    this.client = client as DeliveringClient
    this.options = options
    this.client.deliver0 = (packet, done) => this.deliver(packet, 0, done)
    this.client.deliverQoS = (packet, done) => this.deliver(packet, 1, done)
    client.conn.once('close', () => this.wake())
    deliveries.set(client, this)
  }

  /** Sends the queue of a stored session; nothing else of it goes before. */
  start(): void {
    if (this.client.clean) this.endResuming()
    else this.resume()
  }

  /** A packet identifier that is not in use; for a copy that is in no queue of the client's own. */
  nextId(): number {
    const { client, inFlight } = this
    for (;;) {
      const id = client._nextId
      client._nextId = id >= 65_535 ? 1 : id + 1
      if (!inFlight.has(id)) return id
    }
  }

  /** PUBACK or PUBCOMP came. */
  acknowledged(messageId: number): void {
    const stamp = this.inFlight.get(messageId)
    this.settle(messageId)
    if (stamp === undefined) return
    this.inFlight.delete(messageId)
    this.freed = true
    if (this.resuming) this.finished.push(stamp)
    else this.sent.delete(stamp)
    if (this.waits && !this.resuming && this.hasRoom) this.resume()
    this.wake()
  }

  /** PUBREC came. */
  received(messageId: number): void {
    this.settle(messageId)
  }

  /** Sends what is retained below filters that the client has just subscribed to, after what waits for it. */
  async subscribed(filters: readonly string[]): Promise<void> {
    const { client } = this
    // What came between the stored subscription and the live one is in the queue, and was not sent.
    if (!client.clean) this.lookAgain()
    while (this.resuming && !client.closed) await this.change()
    const newer = new Set<string>()
    this.snapshots.add(newer)
    try {
      for await (const packet of this.options.retained(filters) as AsyncIterable<AedesPublishPacket>) {
        if (client.closed) return
        await this.sendRetained(packet, newer)
        newer.add(packet.topic) // Also for another of the filters.
      }
    } finally {
      this.snapshots.delete(newer)
    }
  }

  private deliver(packet: Stamped, least: Qos, done: () => void): void {
    soon(done)
    const { client } = this
    // Nothing comes before CONNACK (MQTT 3.1.1, 3.2.0-1): a client may not read on until it could acknowledge it. Aedes has
    // renewed the subscriptions of a session by then; what it must not miss is in its queue, which it gets next.
    if (client.closed || !client.connackSent) return
    if (packet.brokerId?.endsWith(shareOrigin)) {
      this.give(packet, packet.qos as Qos)
      return
    }
    if (this.lastCounter === packet.brokerCounter && this.lastOrigin === packet.brokerId) return
    this.lastOrigin = packet.brokerId
    this.lastCounter = packet.brokerCounter
    this.give(packet, this.qosOf(packet, least))
  }

  /** MQTT 3.1.1, 3.3.5-1 and 3.8.4-6: the lower of the message's and the highest that was granted for its topic. */
  private qosOf({ topic, qos }: Pick<Stamped, 'topic' | 'qos'>, least: Qos): Qos {
    let granted = least
    if (qos <= granted) return qos as Qos
    const { subscriptions } = this.client
    for (const filter in subscriptions) {
      const one = subscriptions[filter]!.qos
      if (one > granted && (filter === topic || covers(filter, topic))) {
        granted = one
        if (qos <= granted) return qos as Qos
      }
    }
    return granted
  }

  private give(packet: Stamped, qos: Qos): void {
    const { client, options } = this
    const isQueued = qos > 0 && !client.clean && packet.messageId === undefined
    if (isQueued && (this.resuming || this.waits)) this.behind = true
    else {
      const bytes = packet.topic.length + packet.payload.length
      // A message that is larger than the bound is sent to a client that is not behind.
      if (this.unread > 0 && this.unread + bytes > options.outboundBytes) {
        if (qos === 0) options.dropped(client)
        else this.endSlow(`${this.unread} bytes are unread`)
        return
      }
      if (qos > 0 && this.inFlight.size >= maxInFlight) {
        if (isQueued) this.waits = true
        else this.endSlow(`${this.inFlight.size} messages are unacknowledged`)
        return
      }
      const written = this.send(packet, qos, { isQueued, dup: false })
      if (written) {
        this.unread += bytes
        written.then(
          () => {
            this.unread -= bytes
          },
          error => client.conn.destroy(error),
        )
      }
    }
    for (const newer of this.snapshots) newer.add(packet.topic)
  }

  /** The promise resolves when a message was written and the connection takes more, or ended; none when it was and does. */
  private send(
    packet: Stamped,
    qos: Qos,
    { isQueued, dup }: { isQueued: boolean; dup: boolean },
  ): Promise<void> | undefined {
    const { topic, payload, retain, brokerId, brokerCounter } = packet
    this.options.sent(packet)
    // DUP says what this connection and those before it have seen; what the publisher said goes no further (3.3.1-3).
    if (qos === 0) return this.write({ cmd: 'publish', topic, payload, qos, retain, dup })
    const messageId = packet.messageId ?? this.nextId()
    const message = { cmd: 'publish' as const, topic, payload, qos, retain, dup, messageId, brokerId, brokerCounter }
    if (isQueued) return this.note(message as Stamped).then(noted => (noted ? this.write(message) : undefined))
    this.inFlight.set(messageId, copy)
    return this.write(message)
  }

  /** Has the queue hold the identifier a message is sent with. False when it cannot, which ends the connection. */
  private async note(message: Stamped): Promise<boolean> {
    const { client, options } = this
    const stamp = `${message.brokerId}:${message.brokerCounter}`
    this.inFlight.set(message.messageId!, stamp)
    this.sent.add(stamp)
    try {
      await options.queue.outgoingUpdate(client, message)
      return true
    } catch (thrown) {
      client.conn.destroy(thrown as Error) // It finds the message in its queue when it returns.
      return false
    }
  }

  private write(packet: Packet): Promise<void> | undefined {
    const { client } = this
    if (client.closed || writeToStream(packet, client.conn) || client.conn.destroyed) return undefined
    return new Promise(resolve => client.waitForDrain(() => resolve()))
  }

  /** Sends what the queue holds and this connection was not sent, oldest first, until nothing of it is left. */
  private resume(): void {
    this.resuming = true
    this.readQueue().catch(thrown => this.client.conn.destroy(thrown as Error))
  }

  private async readQueue(): Promise<void> {
    const { client, options } = this
    do {
      this.behind = this.waits = this.freed = false
      let sending: Promise<void>[] = []
      for await (const packet of options.queue.outgoingStream(client) as AsyncIterable<Outgoing>) {
        if (client.closed) break
        if (this.inFlight.size >= maxInFlight) this.waits = true
        else {
          const written = this.sendAgain(packet)
          if (written) sending.push(written)
        }
        if (sending.length < maxResuming) continue
        await Promise.all(sending)
        sending = []
      }
      await Promise.all(sending)
    } while (!client.closed && (this.waits ? this.freed && this.hasRoom : this.behind))
    // At once: what comes between the last look and this would be left in the queue.
    this.endResuming()
  }

  private get hasRoom(): boolean {
    return this.inFlight.size <= maxInFlight / 2
  }

  private sendAgain(packet: Outgoing): Promise<void> | undefined {
    const messageId = (packet as { messageId?: number }).messageId
    const holder = messageId === undefined ? undefined : this.inFlight.get(messageId)
    // Answered meanwhile, by a client that had it from an earlier connection.
    if (messageId !== undefined && this.settled.has(messageId)) return undefined
    if (packet.cmd === 'pubrel') {
      if (holder === copy) this.waits = true
      if (holder !== undefined) return undefined
      this.inFlight.set(packet.messageId, release)
      return this.write({ cmd: 'pubrel', messageId: packet.messageId })
    }
    const { brokerId = '', brokerCounter, qos, topic } = packet
    if (this.sent.has(`${brokerId}:${brokerCounter}`)) return undefined
    if (holder !== undefined) {
      this.waits = true // Something else has its identifier.
      return undefined
    }
    // It was for an established subscription (3.3.1-9), unless the subscription itself brought it (3.3.1-8).
    const retain = brokerId.endsWith(retainedOrigin)
    // A copy for a group has the QoS of its member; of the others the subscriptions may have changed.
    const sent = brokerId.endsWith(shareOrigin) ? qos : this.qosOf({ topic, qos }, 1)
    return this.send({ ...packet, retain }, sent as Qos, { isQueued: true, dup: messageId !== undefined })
  }

  private endResuming(): void {
    this.resuming = false
    for (const stamp of this.finished.splice(0)) this.sent.delete(stamp)
    this.settled.clear()
    this.wake()
  }

  /** Sends what was put into the queue by others, unless the client has much to acknowledge first. */
  private lookAgain(): void {
    if (this.resuming) this.behind = true
    else if (this.inFlight.size < maxResuming) this.resume()
    else this.waits = true
  }

  /** Sends a retained message, unless there is a newer one of its topic by then. */
  private async sendRetained(packet: AedesPublishPacket, newer: ReadonlySet<string>): Promise<void> {
    const { client, options } = this
    const qos = this.qosOf(packet, 0)
    const isQueued = qos > 0 && !client.clean
    while (qos > 0 && this.inFlight.size >= maxRetainedInFlight && !client.closed) await this.change()
    if (client.closed || newer.has(packet.topic)) return
    const message: Stamped = { ...packet, qos, retain: true, dup: false }
    if (!isQueued) return this.send(message, qos, { isQueued, dup: false })
    // A stored session's until it is acknowledged (3.1.2.4), like any other.
    Object.assign(message, options.stamp(), { messageId: this.nextId() })
    await options.queue.outgoingEnqueue({ clientId: client.id }, message)
    if (!(await this.note(message))) return
    if (!newer.has(packet.topic)) {
      options.sent(message)
      return this.write(message as Packet)
    }
    await options.queue.outgoingClearMessageId(client, message)
    this.acknowledged(message.messageId!)
  }

  /** Notes while resuming what a page of the queue that was read before does not know. */
  private settle(messageId: number): void {
    if (this.resuming && !this.inFlight.has(messageId)) this.settled.add(messageId)
  }

  private endSlow(reason: string): void {
    const { client, options } = this
    options.tooSlow(client)
    client.conn.destroy(new FaultlineError('CLIENT_TOO_SLOW', reason))
  }

  /** Resolves when something was acknowledged, the queue was sent or the connection ended. */
  private change(): Promise<void> {
    return new Promise(resolve => this.watchers.push(resolve))
  }

  private wake(): void {
    const { watchers } = this
    if (watchers.length === 0) return
    this.watchers = []
    for (const wake of watchers) wake()
  }
}

const deliveries = new WeakMap<Pick<Client, 'id'>, Delivery>()

/** How a connected client is handed its messages. */
export const deliveryOf = (client: Pick<Client, 'id'>): Delivery | undefined => deliveries.get(client)

let waiting: (() => void)[] = []

/** As `setImmediate`, of which one does for all the receivers that a turn of the event loop has. */
function soon(callback: () => void): void {
  if (waiting.push(callback) > 1) return
  setImmediate(() => {
    const due = waiting
    waiting = []
    for (const call of due) call()
  })
}
