import { EventEmitter } from 'node:events'
import { existsSync } from 'node:fs'
import { Readable } from 'node:stream'
import { type DatabaseSync, databaseFailure, openDatabase, type SetAside } from '@faultline/runtime'
import type { Aedes, AedesPublishPacket, Subscription } from 'aedes'
import { IncomingTable, RetainedTable, type Will, WillTable } from './messages.ts'
import type { BrokerPersistence, Done, PersistenceOptions, Session, Stamp } from './persistence.ts'
import { type DropReason, type Outgoing, type Place, QueueTable } from './queues.ts'
import { migrations } from './schema.ts'
import { Stamps } from './stamps.ts'
import { contentsOf, openStore, restore, type StoreContents, share } from './store-file.ts'
import { type StoredSubscription, SubscriptionTable } from './subscriptions.ts'
import { type StandIn, Transactions } from './transactions.ts'

export interface SqlitePersistenceOptions extends PersistenceOptions {
  /** `:memory:` forgets everything when the broker ends. */
  path: string
}

interface StoreEvents {
  /** Something could not be read or changed. */
  failed: [error: Error]
  /** Every change is refused from now on, for this reason; and no more. */
  refusing: [error: Error]
  writable: []
  /** The file was damaged, and made room for a new one. */
  setAside: [found: SetAside, contents: StoreContents]
}

interface Tables {
  database: DatabaseSync
  transactions: Transactions
  subscriptions: SubscriptionTable
  queues: QueueTable
  retained: RetainedTable
  incoming: IncomingTable
  wills: WillTable
  /** Whether no other process may read the file. */
  isExclusive: boolean
}

/**
 * What Aedes keeps of sessions and messages, in a SQLite file. The changes of one turn of the event loop are one
 * transaction, which a killed process cannot lose once it is committed (a power cut may take the last moments). A method
 * after which something goes to a client (a message, its release, an acknowledgement) resolves once that has happened, so
 * that a broker that is killed finds in its store what the client has seen, and rejects with `DATABASE_FAILED` when the
 * store refuses it. The methods have the names and promises Aedes asks for; its own suite of tests for persistences passes.
 */
export class SqlitePersistence extends EventEmitter<StoreEvents> implements BrokerPersistence {
  private readonly options: SqlitePersistenceOptions
  private opened: Tables | undefined
  private readonly stamps = new Stamps()
  /** What the open transaction drops, should it be committed. */
  private drops: [client: string, reason: DropReason, messages: number][] = []

  constructor(options: SqlitePersistenceOptions) {
    super()
    this.options = options
  }

  /** A disk that has no room for a new store is waited for: nothing is stored until then. Throws `DATABASE_FAILED`. */
  open(): void {
    try {
      this.openFile()
    } catch (thrown) {
      if (databaseFailure(thrown) !== 'full' || existsSync(this.options.path)) throw thrown
      const make = () => this.openFile()
      this.use(openDatabase(':memory:', migrations), { standIn: { reason: thrown as Error, make } })
      this.emit('refusing', thrown as Error)
    }
  }

  /** Throws `DATABASE_FAILED`. */
  private openFile(): Transactions {
    const { database, setAside, isExclusive } = openStore(this.options.path)
    if (setAside) this.emit('setAside', setAside, contentsOf(setAside.path))
    return this.use(database, { isExclusive })
  }

  private use(database: DatabaseSync, { isExclusive = false, standIn }: { isExclusive?: boolean; standIn?: StandIn }) {
    const { path, limits } = this.options
    // Changed pages are copied into the file, and synchronised with the disk, every 64 MB instead of every 4.
    database.exec('PRAGMA wal_autocheckpoint = 16000')
    const transactions = new Transactions({ database, path, restore, standIn })
    const replaced = this.opened?.database
    this.opened = {
      database,
      transactions,
      subscriptions: new SubscriptionTable(database),
      queues: new QueueTable(database, limits, (...drop) => this.drops.push(drop)),
      retained: new RetainedTable(database),
      incoming: new IncomingTable(database),
      wills: new WillTable(database),
      isExclusive,
    }
    replaced?.close()
    transactions.on('committed', () => this.committed())
    transactions.on('rolledBack', () => this.rolledBack())
    transactions.on('failed', error => this.emit('failed', error))
    transactions.on('refusing', error => this.emit('refusing', error))
    transactions.on('writable', () => this.writable())
    return transactions
  }

  get broker(): Pick<Aedes, 'id'> {
    return this.stamps.broker
  }

  /** Why the store takes no changes now. */
  get refusal(): Error | undefined {
    return this.opened?.transactions.refusal
  }

  /** Messages that wait in all queues together, and bytes of their topics and payloads. */
  get queued(): { messages: number; bytes: number } {
    const total = { messages: 0, bytes: 0 }
    for (const { messages, bytes } of this.tables.queues.waiting.values()) {
      total.messages += messages
      total.bytes += bytes
    }
    return total
  }

  /** The session with the longest queue, in messages. */
  get deepestQueue(): number {
    return Math.max(0, ...[...this.tables.queues.waiting.values()].map(({ messages }) => messages))
  }

  /** Subscriptions of stored sessions above QoS 0. */
  get subscriptions(): number {
    return this.tables.subscriptions.count().subsCount
  }

  get retainedMessages(): number {
    return this.tables.retained.size
  }

  /** Ids of the sessions there are. */
  sessions(): Set<string> {
    const { subscriptions, incoming, queues } = this.tables
    return new Set([...subscriptions.clients(), ...incoming.clients(), ...queues.waiting.keys()])
  }

  /** What waits in a session after a place in its queue, with the place of each. */
  *readQueue(id: string, after: number): Generator<Place> {
    const { queues, transactions } = this.tables
    for (const entry of queues.read(id, after)) if (!transactions.owes(removalOf(entry.sequence))) yield entry
  }

  /** How many messages wait in a session. */
  queuedFor(id: string): number {
    return this.tables.queues.sizeOf(id).messages
  }

  /** Drops telemetry that has waited too long. */
  async expireQueued(): Promise<void> {
    await this.tables.transactions.owe('expire', () => this.tables.queues.expire())
  }

  findQueued(id: string, stamp: Stamp): Outgoing | undefined {
    const { queues, transactions } = this.tables
    const found = queues.find(id, stamp)
    return found && !transactions.owes(removalOf(found.sequence)) ? found.packet : undefined
  }

  async removeQueued(id: string, stamp: Stamp): Promise<void> {
    const found = this.tables.queues.find(id, stamp)
    if (found) await this.dequeue(id, found.sequence)
  }

  async moveQueued(from: string, packet: AedesPublishPacket, to: string, copy: AedesPublishPacket): Promise<void> {
    const { queues, transactions } = this.tables
    await transactions.change(() => {
      const found = queues.find(from, packet)
      if (!found) return
      queues.remove(from, found.sequence)
      queues.add(to, copy)
    })
  }

  /** Ends a session: now, or when the store takes changes again. */
  async end(id: string): Promise<void> {
    await this.tables.transactions.owe(endOf(id), () => this.clear(id))
  }

  /**
   * Stores what a message is for: as the retained one of its topic, and for every session that is to have it, all or
   * nothing. Aedes does the same after it has acknowledged; by then it is done. `done` is called once it is safe, for all
   * messages in the order they came. A message that nothing is stored of asks nothing of the store.
   */
  store(packet: AedesPublishPacket, done: Done): void {
    const { transactions, subscriptions } = this.tables
    this.stamps.stamp(packet)
    if (!transactions.pending && !packet.retain && subscriptions.matching(packet.topic).length === 0) {
      this.stamps.remember(packet)
      done(null)
      return
    }
    transactions
      .change(() => this.keep(packet))
      .then(() => {
        this.stamps.remember(packet)
        done(null)
      }, done)
  }

  async setup(aedes: Pick<Aedes, 'id'> & { counter: number }): Promise<void> {
    this.stamps.setup(aedes)
    if (!this.opened) this.open()
  }

  async destroy(): Promise<void> {
    const { opened } = this
    opened?.transactions.close()
    this.opened = undefined
    opened?.database.close()
  }

  async storeRetained(packet: AedesPublishPacket): Promise<void> {
    if (this.stamps.isStored(packet)) return
    const { transactions, retained } = this.tables
    const stored = transactions.change(() => retained.store(packet))
    // MQTT 3.1.1, 3.3.1-7: one of QoS 0 may be discarded at any time; those who are connected get it all the same.
    await (packet.qos > 0 ? stored : stored.catch(() => {}))
  }

  createRetainedStream(filter: string): Readable {
    return this.createRetainedStreamCombi([filter])
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(this.readRetained(filters))
  }

  async addSubscriptions(client: Session, subscriptions: readonly Subscription[]): Promise<void> {
    const granted = subscriptions.filter(({ topic }) => this.options.isGranted(client, topic))
    const { transactions, subscriptions: table } = this.tables
    await transactions.change(() => {
      for (const subscription of granted) table.add(client.id, subscription)
    })
  }

  async removeSubscriptions(client: Session, topics: readonly string[]): Promise<void> {
    const { transactions, subscriptions } = this.tables
    await transactions.change(() => {
      for (const topic of topics) subscriptions.remove(client.id, topic)
    })
  }

  async subscriptionsByClient(client: Session): Promise<Subscription[]> {
    const { transactions, subscriptions } = this.tables
    transactions.forgive(endOf(client.id)) // Its client is back.
    return subscriptions.ofClient(client.id)
  }

  async subscriptionsByTopic(topic: string): Promise<StoredSubscription[]> {
    return this.tables.subscriptions.matching(topic)
  }

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    return this.tables.subscriptions.count()
  }

  getClientList(topic: string): Readable {
    return Readable.from(this.tables.subscriptions.clientsOf(topic))
  }

  async cleanSubscriptions({ id }: Session): Promise<void> {
    const { subscriptions, queues, incoming, transactions } = this.tables
    // Most clients leave nothing behind, and need no store to come back.
    if (!transactions.pending && !subscriptions.has(id) && !queues.waiting.has(id) && !incoming.has(id)) return
    await transactions.change(() => this.clear(id))
  }

  async outgoingEnqueue({ clientId }: { clientId: string }, packet: AedesPublishPacket): Promise<void> {
    await this.outgoingEnqueueCombi([{ clientId }], packet)
  }

  async outgoingEnqueueCombi(
    subscriptions: readonly { clientId: string }[],
    packet: AedesPublishPacket,
  ): Promise<void> {
    if (this.stamps.isStored(packet)) {
      this.stamps.forget(packet)
      return
    }
    if (subscriptions.length === 0) return
    const { transactions, queues } = this.tables
    await transactions.change(() => {
      for (const { clientId } of subscriptions) queues.add(clientId, packet)
    })
  }

  async outgoingUpdate(client: Session, packet: Outgoing): Promise<void> {
    const { transactions, queues } = this.tables
    // As below: a client that has nothing waiting needs no transaction.
    if (!queues.waiting.has(client.id)) return
    await transactions
      .change(() => queues.update(client.id, packet))
      .catch(thrown => {
        // One of QoS 1 may be sent again; one of QoS 2 is not sent before its identifier is stored.
        if (packet.cmd !== 'publish' || packet.qos !== 1) throw thrown
      })
  }

  async outgoingClearMessageId(client: Session, { messageId }: { messageId?: number }): Promise<Outgoing | undefined> {
    const { queues } = this.tables
    // Aedes asks without one when it passes over a copy of what it has just sent: that is still to be acknowledged.
    // Most clients have no stored session, and nothing waiting here.
    if (messageId === undefined || !queues.waiting.has(client.id)) return undefined
    const found = queues.findSent(client.id, messageId)
    if (found) await this.dequeue(client.id, found.sequence)
    return found?.packet
  }

  outgoingStream(client: Session): Readable {
    return Readable.from(this.readPackets(client.id))
  }

  /** MQTT 3.1.1, 4.3.3: from here on the message is ours, so what it is for is stored in the same transaction. */
  async incomingStorePacket(client: Session, packet: AedesPublishPacket & { messageId?: number }): Promise<void> {
    const { transactions, incoming } = this.tables
    this.stamps.stamp(packet)
    await transactions.change(() => {
      incoming.store(client.id, packet.messageId!, packet)
      this.keep(packet)
    })
    this.stamps.remember(packet)
  }

  async incomingGetPacket(client: Session, { messageId }: { messageId: number }): Promise<AedesPublishPacket> {
    const { transactions, incoming } = this.tables
    // It may be on its way into the store; whether it arrives shows after.
    if (transactions.pending) await transactions.change(() => {}).catch(() => {})
    const packet = incoming.get(client.id, messageId)
    if (!packet) throw new Error('no such packet')
    return packet
  }

  async incomingDelPacket(client: Session, { messageId }: { messageId: number }): Promise<void> {
    const { transactions, incoming } = this.tables
    await transactions.change(() => incoming.delete(client.id, messageId))
  }

  async cleanIncoming({ id }: Session): Promise<void> {
    const { transactions, incoming } = this.tables
    if (transactions.pending || incoming.has(id)) await transactions.change(() => incoming.clear(id))
  }

  /**
   * The broker has the will of a connected client in memory as well; that in the store is for one that is killed. So a
   * store that refuses it is no reason to refuse the client.
   */
  async putWill(client: Session, will: Omit<Will, 'clientId'>): Promise<void> {
    const whole = Object.assign(will, { clientId: client.id, brokerId: this.broker.id })
    await this.tables.transactions.owe(willOf(client.id), () => this.tables.wills.put(whole))
  }

  async getWill(client: Session): Promise<Will | undefined> {
    return this.tables.wills.get(client.id)
  }

  /** Never rejects: Aedes would let that end the process. */
  async delWill({ id }: Session): Promise<Will | undefined> {
    const { opened } = this
    try {
      const will = opened?.wills.get(id)
      const { transactions } = this.tables
      if (will || transactions.owes(willOf(id))) await transactions.owe(willOf(id), () => this.tables.wills.delete(id))
      return will
    } catch (thrown) {
      this.emit('failed', thrown as Error)
      return undefined
    }
  }

  /** Wills of brokers that are not alive. */
  streamWill(alive: Readonly<Record<string, unknown>> = {}): Readable {
    return Readable.from(this.tables.wills.list().filter(({ brokerId = '' }) => !alive[brokerId]))
  }

  private async *readRetained(filters: readonly string[]): AsyncGenerator<AedesPublishPacket> {
    try {
      for (const filter of filters) {
        for await (const packet of this.tables.retained.matching(filter)) yield packet
      }
    } catch (thrown) {
      this.emit('failed', thrown as Error)
      throw thrown
    }
  }

  private *readPackets(id: string): Generator<Outgoing> {
    for (const { packet } of this.readQueue(id, 0)) yield packet
  }

  /** Takes out of a queue what its client has acknowledged: now, or when the store takes changes again. */
  private async dequeue(id: string, sequence: number): Promise<void> {
    const { transactions, queues } = this.tables
    await transactions.owe(removalOf(sequence), () => queues.remove(id, sequence))
  }

  private keep(packet: AedesPublishPacket): void {
    const { retained, subscriptions, queues } = this.tables
    if (packet.retain) retained.store(packet)
    for (const { clientId } of subscriptions.matching(packet.topic)) queues.add(clientId, packet)
  }

  private clear(id: string): void {
    const { subscriptions, queues, incoming } = this.tables
    for (const { topic } of subscriptions.ofClient(id)) subscriptions.remove(id, topic)
    queues.clear(id)
    incoming.clear(id)
  }

  private writable(): void {
    const { tables } = this
    if (tables.isExclusive) {
      try {
        share(tables.database)
        tables.isExclusive = false
      } catch (thrown) {
        this.emit('failed', thrown as Error) // It serves all the same.
      }
    }
    this.emit('writable')
  }

  private committed(): void {
    const { drops } = this
    this.drops = []
    for (const drop of drops) this.options.dropped(...drop)
  }

  private rolledBack(): void {
    this.drops = []
    this.tables.queues.recount()
    this.tables.subscriptions.restore()
  }

  private get tables(): Tables {
    if (!this.opened) throw new Error('the persistence is closed')
    return this.opened
  }
}

/** By which the store owes a change. */
const removalOf = (sequence: number): string => `removal ${sequence}`
const endOf = (session: string): string => `end ${session}`
const willOf = (client: string): string => `will ${client}`
