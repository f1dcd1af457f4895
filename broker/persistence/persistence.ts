import type { Readable } from 'node:stream'
import type { Aedes, AedesPublishPacket, Client, Subscription } from 'aedes'
import type { Will } from './messages.ts'
import type { DropReason, Outgoing, QueueLimits } from './queues.ts'
import type { StoredSubscription } from './subscriptions.ts'

export type Session = Pick<Client, 'id'>

/** Called with what went wrong, or null. */
export type Done = (error: Error | null) => void

export interface PersistenceOptions {
  limits: QueueLimits
  /** Whether a subscription was granted. Aedes stores all of a packet when one of them is. */
  isGranted(client: Session, filter: string): boolean
  dropped(client: string, reason: DropReason, messages: number): void
}

/** Names a message in the queues. */
export type Stamp = Pick<AedesPublishPacket, 'brokerId' | 'brokerCounter'>

type Incoming = AedesPublishPacket & { messageId?: number }

/** What a broker keeps of sessions and messages: what Aedes asks of a persistence, and what this broker asks beyond. */
export interface BrokerPersistence {
  /** Throws `DATABASE_FAILED`, `REDIS_UNREACHABLE`. */
  open(): void | Promise<void>
  setup(aedes: Pick<Aedes, 'id'> & { counter: number }): Promise<void>
  destroy(): Promise<void>
  readonly broker: Pick<Aedes, 'id'>

  /** Messages that wait in all queues together, and bytes of their topics and payloads. */
  readonly queued: { messages: number; bytes: number }
  /** The session with the longest queue, in messages. */
  readonly deepestQueue: number
  /** Subscriptions of stored sessions above QoS 0. */
  readonly subscriptions: number
  readonly retainedMessages: number

  /** Ids of the sessions there are, groups among them. */
  sessions(): Set<string> | Promise<Set<string>>
  end(id: string): void | Promise<void>
  /** A message that waits in a session; undefined when it does not, or not any more. */
  findQueued(id: string, stamp: Stamp): Outgoing | undefined | Promise<Outgoing | undefined>
  removeQueued(id: string, stamp: Stamp): void | Promise<void>
  /** Drops telemetry that has waited too long. */
  expireQueued(): void | Promise<void>
  /** Stores what a message is for, all or nothing; `done` is called once it is safe, for all in the order they came. */
  store(packet: AedesPublishPacket, done: Done): void

  storeRetained(packet: AedesPublishPacket): Promise<void>
  createRetainedStream(filter: string): Readable
  createRetainedStreamCombi(filters: readonly string[]): Readable
  addSubscriptions(client: Session, subscriptions: readonly Subscription[]): Promise<void>
  removeSubscriptions(client: Session, topics: readonly string[]): Promise<void>
  subscriptionsByClient(client: Session): Promise<Subscription[]>
  subscriptionsByTopic(topic: string): Promise<StoredSubscription[]>
  countOffline(): Promise<{ subsCount: number; clientsCount: number }>
  getClientList(topic: string): Readable
  cleanSubscriptions(client: Session): Promise<void>
  outgoingEnqueue(to: { clientId: string }, packet: AedesPublishPacket): Promise<void>
  outgoingEnqueueCombi(to: readonly { clientId: string }[], packet: AedesPublishPacket): Promise<void>
  outgoingUpdate(client: Session, packet: Outgoing): Promise<void>
  outgoingClearMessageId(client: Session, packet: { messageId?: number }): Promise<Outgoing | undefined>
  outgoingStream(client: Session): Readable
  incomingStorePacket(client: Session, packet: Incoming): Promise<void>
  incomingGetPacket(client: Session, packet: { messageId: number }): Promise<AedesPublishPacket>
  incomingDelPacket(client: Session, packet: { messageId: number }): Promise<void>
  cleanIncoming(client: Session): Promise<void>
  putWill(client: Session, will: Omit<Will, 'clientId'>): Promise<void>
  getWill(client: Session): Promise<Will | undefined>
  delWill(client: Session): Promise<Will | undefined>
  /** Wills of brokers that are not alive. */
  streamWill(alive?: Readonly<Record<string, unknown>>): Readable
}
