import type { Aedes, AedesPublishPacket, Client } from 'aedes'
import { deliveryOf, shareOriginOf } from '../delivery.ts'
import type { BrokerPersistence } from '../persistence/persistence.ts'
import { boundsOf, type QueueLimits } from '../persistence/queues.ts'
import type { MemberClient } from '../shared-group.ts'
import { type GroupDropped, isGroup, readFilter, type Shares } from '../shared-subscriptions.ts'
import type { Membership } from './membership.ts'
import { decodeMessage, encodeMessage, stampOf } from './message-codec.ts'
import { prefix, type RedisLink } from './redis.ts'

interface Member {
  client: MemberClient
  qos: 0 | 1 | 2
  joined: boolean
  /** Stamps of what was sent to it, and those that wait for an acknowledgement by packet identifier. */
  readonly sent: Set<string>
  readonly inFlight: Map<number, string>
  /** Stamps of what it has acknowledged and Redis does not know of yet. */
  readonly undone: Set<string>
}

interface Departure {
  leave(): Promise<unknown>
  running: Promise<void> | undefined
}

export interface ClusterSharesOptions {
  link: RedisLink
  membership: Membership
  persistence: BrokerPersistence
  aedes: Pick<Aedes, 'id'>
  limits: { sharedInFlight: number; emptyGroupMs: number } & QueueLimits
  dropped: GroupDropped
}

/**
 * Shared subscriptions whose members are clients of any broker. Redis keeps each group's members in a ring and divides
 * its messages, one script at a time: so each has one member, in turn, at whichever broker it was published. A broker learns what its
 * members were given, sends it, and says when it was acknowledged.
 */
export class ClusterShares implements Shares {
  private readonly options: ClusterSharesOptions
  private readonly groups = new Map<string, Map<string, Member>>()
  /** Members that Redis still has in a ring, by group and client. */
  private readonly departures = new Map<string, Departure>()
  private copies = 0

  constructor(options: ClusterSharesOptions) {
    this.options = options
  }

  start(): void {}

  stop(): void {
    this.groups.clear()
  }

  async add(client: Client, group: string, qos: 0 | 1 | 2): Promise<void> {
    if (client.closed) return
    const members = this.groups.get(group) ?? new Map<string, Member>()
    this.groups.set(group, members)
    const known = members.get(client.id)
    if (known?.client === client) known.qos = qos
    else {
      const member: Member = {
        client: client as MemberClient,
        qos,
        joined: false,
        sent: new Set(),
        inFlight: new Map(),
        undone: new Set(),
      }
      members.set(client.id, member)
      // Not `clientDisconnect`: Aedes is silent about a client that is replaced or ends before it is fully connected.
      client.conn.once('close', () => this.part(group, member))
    }
    await this.options.persistence.addSubscriptions({ id: group }, [{ topic: readFilter(group)!.filter, qos: 2 }])
    await this.join(group, members.get(client.id)!)
  }

  remove(client: Client, group: string): void {
    const member = this.groups.get(group)?.get(client.id)
    if (member?.client === client) this.part(group, member)
  }

  ready(client: Client): void {
    for (const [group, members] of this.groups) {
      const member = members.get(client.id)
      if (member?.client === client) this.join(group, member).catch(() => client.conn.destroy()) // It comes back.
    }
  }

  acknowledge(client: Client, messageId: number | undefined): boolean {
    if (messageId === undefined) return false
    for (const [group, members] of this.groups) {
      const member = members.get(client.id)
      const stamp = member?.client === client ? member.inFlight.get(messageId) : undefined
      if (!member || stamp === undefined) continue
      member.inFlight.delete(messageId)
      this.done(group, member, stamp)
      return true
    }
    return false
  }

  /** Gives a member what was published at QoS 0, which is not stored. */
  async pass({ topic, payload }: Pick<AedesPublishPacket, 'topic' | 'payload'>): Promise<void> {
    const { persistence, link, membership, dropped } = this.options
    for (const { clientId: group } of await persistence.subscriptionsByTopic(topic)) {
      if (!isGroup(group)) continue
      const member = (await link.run('turn', group)) as string | null
      if (member === null) dropped(group, 'no-member', 1)
      else {
        const space = member.indexOf(' ')
        const [broker, client] = [member.slice(0, space), member.slice(space + 1)]
        const base64 = Buffer.from(payload).toString('base64')
        await membership.say(broker, { kind: 'passed', group, client, topic, payload: base64 })
      }
    }
  }

  passed(group: string, clientId: string, topic: string, payload: Buffer): void {
    const member = this.groups.get(group)?.get(clientId)
    if (member) member.client.publish(this.copyOf({ topic, payload }, 0), () => {})
  }

  /** A member was given a message. */
  async given(group: string, clientId: string, stamp: string): Promise<void> {
    const member = this.groups.get(group)?.get(clientId)
    if (!member || member.sent.has(stamp)) return
    member.sent.add(stamp)
    let message: Buffer | null
    try {
      message = await this.options.link.db.hgetBuffer(`${prefix}messages:${group}`, stamp)
    } catch (error) {
      member.sent.delete(stamp) // The next look tries again.
      throw error
    }
    if (member.client.closed) return
    if (!message) return this.done(group, member, stamp)
    this.send(group, member, decodeMessage(message, stamp) as AedesPublishPacket, stamp)
  }

  /** Sends what members were given unheard, and ends groups to which no member comes back. */
  async look(): Promise<void> {
    const { link, limits, dropped } = this.options
    for (const key of this.departures.keys()) await this.depart(key)
    for (const [group, members] of this.groups) {
      for (const [clientId, member] of members) {
        if (!member.joined) continue
        for (const stamp of member.undone) await this.finish(group, member, stamp)
        const stamps = (await link.run('given', group, this.keyOf(member))) as string[]
        for (const stamp of stamps) await this.given(group, clientId, stamp)
      }
    }
    const abandoned = (await link.run('abandon', limits.emptyGroupMs)) as (string | number)[]
    for (let i = 0; i < abandoned.length; i += 2) {
      dropped(String(abandoned[i]), 'group-abandoned', Number(abandoned[i + 1]))
    }
  }

  private async join(group: string, member: Member): Promise<void> {
    const { link, limits } = this.options
    // PUBLISH follows CONNACK.
    if (member.joined || !member.client.connackSent || member.client.closed) return
    await this.depart(keyIn(group, member)) // Its client may have left before.
    if (member.joined || this.groups.get(group)?.get(member.client.id) !== member) return
    member.joined = true
    await link.run('join', group, this.keyOf(member), limits.sharedInFlight)
  }

  private part(group: string, member: Member): void {
    const members = this.groups.get(group)
    if (members?.get(member.client.id) !== member) return
    members.delete(member.client.id)
    if (members.size === 0) this.groups.delete(group)
    if (!member.joined) return
    const { link, limits } = this.options
    const leave = () => link.run('leave', group, this.keyOf(member), limits.sharedInFlight)
    this.departures.set(keyIn(group, member), { leave, running: undefined })
    this.depart(keyIn(group, member)).catch(() => {}) // Again at the next look: until then its messages wait for it.
  }

  private async depart(key: string): Promise<void> {
    const departure = this.departures.get(key)
    if (!departure) return
    departure.running ??= departure.leave().then(
      () => {
        if (this.departures.get(key) === departure) this.departures.delete(key)
      },
      error => {
        departure.running = undefined
        throw error
      },
    )
    await departure.running
  }

  private send(group: string, member: Member, packet: AedesPublishPacket, stamp: string): void {
    const { client } = member
    // MQTT 5, 4.8.2-3: the QoS granted to that member; MQTT 3.1.1, 3.8.4-6: the lower of it and the message's.
    const qos = Math.min(packet.qos, member.qos) as 0 | 1 | 2
    const copy = this.copyOf(packet, qos)
    if (qos === 1) {
      const messageId = deliveryOf(client)!.nextId()
      member.inFlight.set(messageId, stamp)
      client.deliverQoS(Object.assign(copy, { messageId }), () => {})
      return
    }
    // MQTT 5, 4.8.2-4 and 4.8.2-5: of QoS 2 the delivery is completed to that client, so it is its own session's now.
    if (qos === 2 && !client.clean)
      this.hand(group, member, copy, stamp).catch(() => client.conn.destroy()) // It comes back.
    else client.publish(copy, () => this.done(group, member, stamp))
  }

  /** Both queues change at once, or the message would be in both when the broker is killed. */
  private async hand(group: string, member: Member, copy: AedesPublishPacket, stamp: string): Promise<void> {
    const { link, limits, dropped } = this.options
    const { client } = member
    const { messages, bytes } = boundsOf(limits, client.id)
    const session = [client.id, messages, bytes, stampOf(copy), encodeMessage(copy)]
    const drops = await link.run('hand', group, this.keyOf(member), stamp, limits.sharedInFlight, ...session)
    member.sent.delete(stamp)
    if (Number(drops) > 0) dropped(client.id, 'queue-full', Number(drops))
    if (Number(drops) >= 0) client.deliverQoS(copy, () => {})
  }

  /** A member has a message. What Redis does not take is said again at the next look. */
  private done(group: string, member: Member, stamp: string): void {
    this.finish(group, member, stamp).catch(() => member.undone.add(stamp))
  }

  private async finish(group: string, member: Member, stamp: string): Promise<void> {
    const { link, limits } = this.options
    await link.run('done', group, this.keyOf(member), stamp, limits.sharedInFlight)
    member.undone.delete(stamp)
    member.sent.delete(stamp) // Until then it is not sent again.
  }

  /** A member may get the same message for itself (MQTT 5, 4.8.2), so copies for groups are counted apart. */
  private copyOf(
    { topic, payload }: Pick<AedesPublishPacket, 'topic' | 'payload'>,
    qos: 0 | 1 | 2,
  ): AedesPublishPacket {
    const brokerId = shareOriginOf(this.options.aedes.id)
    return { cmd: 'publish', topic, payload, qos, retain: false, dup: false, brokerId, brokerCounter: ++this.copies }
  }

  private keyOf({ client }: Member): string {
    return `${this.options.aedes.id} ${client.id}`
  }
}

const keyIn = (group: string, { client }: Member): string => `${group} ${client.id}`
