import { Readable } from 'node:stream'
import { toFaultlineError } from '@faultline/protocol'
import { type DatabaseSync, openDatabase } from '@faultline/runtime'
import type { Aedes, AedesPublishPacket, Subscription } from 'aedes'
import { IncomingTable, RetainedTable, type Will, WillTable } from './messages.ts'
import type { BrokerPersistence, Done, PersistenceOptions, Session, Stamp } from './persistence.ts'
import { type Outgoing, QueueTable } from './queues.ts'
import { migrations } from './schema.ts'
import { Stamps } from './stamps.ts'
import { type StoredSubscription, SubscriptionTable } from './subscriptions.ts'

export interface SqlitePersistenceOptions extends PersistenceOptions {
  /** `:memory:` forgets everything when the broker ends. */
  path: string
}

const failure = (thrown: unknown): Error => toFaultlineError(thrown, 'DATABASE_FAILED', 'not stored')

interface Tables {
  database: DatabaseSync
  subscriptions: SubscriptionTable
  queues: QueueTable
  retained: RetainedTable
  incoming: IncomingTable
  wills: WillTable
}

/**
 * What Aedes keeps of sessions and messages, in a SQLite file. The changes of one turn of the event loop are one
 * transaction, which a killed process cannot lose once it is committed (a power cut may take the last moments). A method
 * after which something goes to a client (a message, its release, an acknowledgement) resolves once that has happened: a
 * broker that is killed then finds in its store what the client has seen. The methods have the names and promises Aedes asks for; its own suite of tests for persistences passes.
 */
export class SqlitePersistence implements BrokerPersistence {
  private readonly options: SqlitePersistenceOptions
  private opened: Tables | undefined
  private readonly stamps = new Stamps()
  /** Who waits for the transaction that is open; undefined when none is. */
  private waiting: Done[] | undefined

  constructor(options: SqlitePersistenceOptions) {
    this.options = options
  }

  /** Throws `DATABASE_FAILED`. */
  open(): void {
    const { path, limits, dropped } = this.options
    // Only its owner may read what devices say and receive.
    const database = openDatabase(path, migrations, { mode: 0o600 })
    // Changed pages are copied into the file, and synchronised with the disk, every 64 MB instead of every 4.
    database.exec('PRAGMA wal_autocheckpoint = 16000')
    this.opened = {
      database,
      subscriptions: new SubscriptionTable(database),
      queues: new QueueTable(database, limits, dropped),
      retained: new RetainedTable(database),
      incoming: new IncomingTable(database),
      wills: new WillTable(database),
    }
  }

  get broker(): Pick<Aedes, 'id'> {
    return this.stamps.broker
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
  readQueue(id: string, after: number): Iterable<{ sequence: number; packet: Outgoing }> {
    return this.tables.queues.read(id, after)
  }

  /** Drops telemetry that has waited too long. */
  expireQueued(): void {
    this.change().queues.expire()
  }

  /** How many messages wait in a session. */
  queuedFor(id: string): number {
    return this.tables.queues.sizeOf(id).messages
  }

  findQueued(id: string, stamp: Stamp): Outgoing | undefined {
    return this.tables.queues.find(id, stamp)
  }

  removeQueued(id: string, stamp: Stamp): void {
    this.change().queues.remove(id, stamp)
  }

  /** Ends a session. */
  end(id: string): void {
    const { subscriptions, queues, incoming } = this.change()
    for (const { topic } of subscriptions.ofClient(id)) subscriptions.remove(id, topic)
    queues.clear(id)
    incoming.clear(id)
  }

  /**
   * Stores what a message is for: as the retained one of its topic, and for every session that is to have it, all or
   * nothing. Aedes does the same after it has acknowledged; by then it is done. `done` is called once it is safe, for all
   * messages in the order they came.
   */
  store(packet: AedesPublishPacket, done: Done): void {
    this.stamps.stamp(packet)
    try {
      this.keep(packet)
    } catch (thrown) {
      done(failure(thrown))
      return
    }
    this.stamps.remember(packet)
    if (this.waiting) this.waiting.push(done)
    else done(null)
  }

  async setup(aedes: Pick<Aedes, 'id'> & { counter: number }): Promise<void> {
    this.stamps.setup(aedes)
    if (!this.opened) this.open()
  }

  async destroy(): Promise<void> {
    this.commit()
    this.opened?.database.close()
    this.opened = undefined
  }

  async storeRetained(packet: AedesPublishPacket): Promise<void> {
    if (!this.stamps.isStored(packet)) this.change().retained.store(packet)
  }

  createRetainedStream(filter: string): Readable {
    return this.createRetainedStreamCombi([filter])
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(this.readRetained(filters))
  }

  async addSubscriptions(client: Session, subscriptions: readonly Subscription[]): Promise<void> {
    const granted = subscriptions.filter(({ topic }) => this.options.isGranted(client, topic))
    for (const subscription of granted) this.change().subscriptions.add(client.id, subscription)
    await this.committed()
  }

  async removeSubscriptions(client: Session, topics: readonly string[]): Promise<void> {
    for (const topic of topics) this.change().subscriptions.remove(client.id, topic)
    await this.committed()
  }

  async subscriptionsByClient(client: Session): Promise<Subscription[]> {
    return this.tables.subscriptions.ofClient(client.id)
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

  async cleanSubscriptions(client: Session): Promise<void> {
    this.end(client.id)
  }

  async outgoingEnqueue({ clientId }: { clientId: string }, packet: AedesPublishPacket): Promise<void> {
    this.change().queues.add(clientId, packet)
  }

  async outgoingEnqueueCombi(
    subscriptions: readonly { clientId: string }[],
    packet: AedesPublishPacket,
  ): Promise<void> {
    if (this.stamps.isStored(packet)) {
      this.stamps.forget(packet)
      return
    }
    for (const { clientId } of subscriptions) this.change().queues.add(clientId, packet)
  }

  async outgoingUpdate(client: Session, packet: Outgoing): Promise<void> {
    // As below: whoever has nothing waiting needs no transaction.
    if (!this.tables.queues.waiting.has(client.id)) return
    this.change().queues.update(client.id, packet)
    await this.committed()
  }

  async outgoingClearMessageId(client: Session, packet: { messageId?: number }): Promise<Outgoing | undefined> {
    // Whoever has no stored session has nothing waiting here, and most have none: that needs no transaction.
    if (!this.tables.queues.waiting.has(client.id)) return undefined
    return this.change().queues.acknowledge(client.id, packet.messageId)
  }

  outgoingStream(client: Session): Readable {
    return Readable.from(this.readPackets(client.id))
  }

  /** MQTT 3.1.1, 4.3.3: from here on the message is ours, so what it is for is stored in the same transaction. */
  async incomingStorePacket(client: Session, packet: AedesPublishPacket & { messageId?: number }): Promise<void> {
    this.stamps.stamp(packet)
    this.change().incoming.store(client.id, packet.messageId!, packet)
    this.keep(packet)
    this.stamps.remember(packet)
    await this.committed()
  }

  async incomingGetPacket(client: Session, { messageId }: { messageId: number }): Promise<AedesPublishPacket> {
    const packet = this.tables.incoming.get(client.id, messageId)
    if (!packet) throw new Error('no such packet')
    // One that comes again is acknowledged for that, so the first has to be safe.
    await this.committed()
    return packet
  }

  async incomingDelPacket(client: Session, { messageId }: { messageId: number }): Promise<void> {
    this.change().incoming.delete(client.id, messageId)
    await this.committed()
  }

  async cleanIncoming(client: Session): Promise<void> {
    this.change().incoming.clear(client.id)
  }

  async putWill(client: Session, will: Omit<Will, 'clientId'>): Promise<void> {
    this.change().wills.put(Object.assign(will, { clientId: client.id, brokerId: this.broker.id }))
    await this.committed()
  }

  async getWill(client: Session): Promise<Will | undefined> {
    return this.tables.wills.get(client.id)
  }

  async delWill(client: Session): Promise<Will | undefined> {
    const will = this.tables.wills.get(client.id)
    if (will) this.change().wills.delete(client.id)
    return will
  }

  /** Wills of brokers that are not alive. */
  streamWill(alive: Readonly<Record<string, unknown>> = {}): Readable {
    return Readable.from(this.tables.wills.list().filter(({ brokerId = '' }) => !alive[brokerId]))
  }

  private async *readRetained(filters: readonly string[]): AsyncGenerator<AedesPublishPacket> {
    for (const filter of filters) {
      for await (const packet of this.tables.retained.matching(filter)) yield packet
    }
  }

  private *readPackets(id: string): Generator<Outgoing> {
    for (const { packet } of this.tables.queues.read(id)) yield packet
  }

  private keep(packet: AedesPublishPacket): void {
    if (packet.retain) this.change().retained.store(packet)
    for (const { clientId } of this.tables.subscriptions.matching(packet.topic)) {
      this.change().queues.add(clientId, packet)
    }
  }

  /** The tables, for a change: opens the transaction of this turn when none is open. */
  private change(): Tables {
    const { tables } = this
    if (!this.waiting) {
      tables.database.exec('BEGIN IMMEDIATE')
      this.waiting = []
      setImmediate(() => this.commit())
    }
    return tables
  }

  /** Resolves once the changes made so far are safe. */
  private async committed(): Promise<void> {
    const { waiting } = this
    if (!waiting) return
    await new Promise<void>((resolve, reject) => {
      waiting.push(error => (error ? reject(error) : resolve()))
    })
  }

  private commit(): void {
    const { waiting, opened } = this
    if (!waiting || !opened) return
    this.waiting = undefined
    let error: Error | null = null
    try {
      opened.database.exec('COMMIT')
    } catch (thrown) {
      error = failure(thrown)
      // Some failures, a full disk among them, have rolled back already.
      if (opened.database.isTransaction) opened.database.exec('ROLLBACK')
      opened.queues.recount()
    }
    for (const done of waiting) done(error)
  }

  private get tables(): Tables {
    if (!this.opened) throw new Error('the persistence is closed')
    return this.opened
  }
}
