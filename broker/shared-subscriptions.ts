import type { Aedes, AedesPublishPacket, Client } from 'aedes'
import { shareOriginOf } from './delivery.ts'
import type { Place } from './persistence/queues.ts'
import { Group } from './shared-group.ts'

const prefix = '$share/'

/**
 * Takes `$share/{group}/{filter}` apart; a filter that is not shared has no group. Undefined when the share is malformed
 * (MQTT 5, 4.8.2-1 and 4.8.2-2: the group is not empty and has no "/", "+" or "#", and a filter follows).
 */
export function readFilter(topicFilter: string): { group?: string; filter: string } | undefined {
  if (topicFilter !== '$share' && !topicFilter.startsWith(prefix)) return { filter: topicFilter }
  const [group, ...levels] = topicFilter.slice(prefix.length).split('/')
  const filter = levels.join('/')
  if (!group || /[+#]/.test(group) || filter === '') return undefined
  return { group, filter }
}

/** Whether a session of the persistence is that of a group: no client has such an id. */
export const isGroup = (session: string): boolean => session.startsWith(prefix)

/** Messages of a group came to nothing: there was no member for one of QoS 0, or none came back in time. */
export type GroupDropped = (
  group: string,
  reason: 'no-member' | 'group-abandoned' | 'queue-full',
  messages: number,
) => void

/** What groups need of the persistence: a session of their own, named by the shared filter. */
export interface GroupPersistence {
  sessions(): Iterable<string>
  addSubscriptions(session: { id: string }, subscriptions: { topic: string; qos: 0 | 1 | 2 }[]): Promise<void>
  /** What waits in a session after a place in its queue, with the place of each. */
  readQueue(session: string, after: number): Iterable<Place>
  /** Never rejects: a message that cannot be removed now is no longer read, and removed later. */
  removeQueued(session: string, packet: AedesPublishPacket): Promise<void>
  /** Has a copy of a message wait in another session in place of the message. Rejects when it cannot. */
  moveQueued(from: string, packet: AedesPublishPacket, to: string, copy: AedesPublishPacket): Promise<void>
  /** How many messages wait in a session. */
  queuedFor(session: string): number
  /** Never rejects: what cannot be ended now is ended later. */
  end(session: string): Promise<void>
}

/** The groups of a broker, or of all brokers of a cluster. */
export interface Shares {
  start(): void
  stop(): void
  /**
   * Makes a client a member, or changes the QoS it was granted. `topicFilter` is well-formed and begins with `$share/`.
   * Rejects when the group cannot be stored.
   */
  add(client: Client, topicFilter: string, qos: 0 | 1 | 2): Promise<void>
  /** A client unsubscribed; nothing happens when it is no member. */
  remove(client: Client, topicFilter: string): void
  /** A client can be sent to now. */
  ready(client: Client): void
  /** Whether an acknowledgement was for a message of a group. */
  acknowledge(client: Client, messageId: number | undefined): boolean
  /** A client published at QoS 0; for groups that do not hear of it themselves. */
  pass?(packet: Pick<AedesPublishPacket, 'topic' | 'payload'>): Promise<void>
}

export interface SharedSubscriptionsOptions {
  aedes: Pick<Aedes, 'id' | 'subscribe' | 'unsubscribe'>
  persistence: GroupPersistence
  limits: { sharedInFlight: number; emptyGroupMs: number }
  dropped: GroupDropped
  /** The queue of a group could not be read. */
  unreadable(error: Error): void
}

/**
 * Shared subscriptions (MQTT 5, 4.8.2, for clients of 3.1.1 too) for Aedes, which takes `$share/…` for a topic of that
 * name and would be silent for ever. Aedes keeps that literal subscription, which no message matches: it gives the
 * SUBACK, the stored session and its return. Beside it every group listens to the filter itself, once, and has a session
 * of its own in the persistence, in which messages of QoS 1 and 2 wait until a member has acknowledged them.
 */
export class SharedSubscriptions implements Shares {
  private readonly options: SharedSubscriptionsOptions
  private readonly groups = new Map<string, Group>()
  private readonly memberships = new WeakMap<Client, Set<Group>>()
  private copies = 0

  constructor(options: SharedSubscriptionsOptions) {
    this.options = options
  }

  /** Groups from before the broker was stopped or killed come back, and wait for their members. */
  start(): void {
    for (const id of this.options.persistence.sessions()) if (isGroup(id)) this.open(id)
  }

  stop(): void {
    for (const group of this.groups.values()) group.close()
    this.groups.clear()
  }

  async add(client: Client, topicFilter: string, qos: 0 | 1 | 2): Promise<void> {
    if (client.closed) return
    const group = this.groups.get(topicFilter) ?? (await this.create(topicFilter))
    if (client.closed) return
    let groups = this.memberships.get(client)
    if (!groups) {
      groups = new Set()
      this.memberships.set(client, groups)
      // Not `clientDisconnect`: Aedes is silent about a client that is replaced or ends before it is fully connected.
      client.conn.once('close', () => this.lost(client))
    }
    groups.add(group)
    group.add(client, qos)
  }

  remove(client: Client, topicFilter: string): void {
    const group = this.groups.get(topicFilter)
    if (!group || !this.memberships.get(client)?.delete(group)) return
    group.remove(client)
  }

  ready(client: Client): void {
    for (const group of this.memberships.get(client) ?? []) group.drain()
  }

  acknowledge(client: Client, messageId: number | undefined): boolean {
    if (messageId === undefined) return false
    for (const group of this.memberships.get(client) ?? []) if (group.acknowledge(client, messageId)) return true
    return false
  }

  /** A new group is stored before it has a member: what is acknowledged from then on waits for it. */
  private async create(topicFilter: string): Promise<Group> {
    const { filter } = readFilter(topicFilter)!
    await this.options.persistence.addSubscriptions({ id: topicFilter }, [{ topic: filter, qos: 2 }])
    return this.open(topicFilter)
  }

  private open(topicFilter: string): Group {
    let group = this.groups.get(topicFilter)
    if (!group) {
      const { aedes, persistence, limits, dropped, unreadable } = this.options
      group = new Group({
        id: topicFilter,
        filter: readFilter(topicFilter)!.filter,
        inFlight: limits.sharedInFlight,
        emptyMs: limits.emptyGroupMs,
        aedes,
        persistence,
        stamp: this.stamp,
        dropped: () => dropped(topicFilter, 'no-member', 1),
        unreadable,
        abandoned: () => {
          this.end(topicFilter).catch(unreadable)
        },
      })
      this.groups.set(topicFilter, group)
      group.open()
    }
    return group
  }

  /** Never rejects. */
  private async end(topicFilter: string): Promise<void> {
    const { persistence, dropped } = this.options
    this.groups.get(topicFilter)?.close()
    this.groups.delete(topicFilter)
    const lost = persistence.queuedFor(topicFilter)
    if (lost > 0) dropped(topicFilter, 'group-abandoned', lost)
    await persistence.end(topicFilter)
  }

  private lost(client: Client): void {
    for (const group of this.memberships.get(client) ?? []) group.remove(client)
    this.memberships.delete(client)
  }

  /** A member may get the same message for itself (MQTT 5, 4.8.2), so copies for groups are counted apart. */
  private readonly stamp = (): { brokerId: string; brokerCounter: number } => ({
    brokerId: shareOriginOf(this.options.aedes.id),
    brokerCounter: ++this.copies,
  })
}
