import type { Aedes, AedesPublishPacket, Client } from 'aedes'

const prefix = '$share/'

/**
 * Takes `$share/{group}/{filter}` apart; a filter that is not shared has no group. Undefined when the share is malformed
 * (MQTT 5, 4.8.2: the group is not empty and has no "/", "+" or "#", and a filter follows).
 */
export function readFilter(topicFilter: string): { group?: string; filter: string } | undefined {
  if (topicFilter !== '$share' && !topicFilter.startsWith(prefix)) return { filter: topicFilter }
  const [group, ...levels] = topicFilter.slice(prefix.length).split('/')
  const filter = levels.join('/')
  if (!group || /[+#]/.test(group) || filter === '') return undefined
  return { group, filter }
}

/** The part of Aedes' client that its types leave out: CONNACK was written, so that PUBLISH may follow. */
type ReadyClient = Client & { readonly connackSent: boolean }

/**
 * Shared subscriptions (MQTT 5, 4.8.2) for Aedes, which takes `$share/…` for a topic of that name and would be silent
 * for ever. Aedes keeps that literal subscription, which no message matches: it gives the SUBACK, the stored session and
 * its return. Beside it every group listens to the filter itself, once, and hands each message to one of its members.
 */
export class SharedSubscriptions {
  private readonly aedes: Pick<Aedes, 'id' | 'subscribe' | 'unsubscribe'>
  private readonly groups = new Map<string, Group>()
  private readonly watched = new WeakSet<Client>()
  private copies = 0

  constructor(aedes: Pick<Aedes, 'id' | 'subscribe' | 'unsubscribe'>) {
    this.aedes = aedes
  }

  /** Makes a client a member, or changes the QoS it was granted. `topicFilter` is well-formed and begins with `$share/`. */
  add(client: Client, topicFilter: string, qos: 0 | 1 | 2): void {
    if (client.closed) return
    let group = this.groups.get(topicFilter)
    if (!group) {
      group = new Group(readFilter(topicFilter)!.filter, this.stamp)
      this.groups.set(topicFilter, group)
      this.aedes.subscribe(group.filter, group.deliver, () => {})
    }
    group.add(client as ReadyClient, qos)
    if (!this.watched.has(client)) {
      this.watched.add(client)
      // Not `clientDisconnect`: Aedes is silent about a client that is replaced or ends before it is fully connected.
      client.conn.once('close', () => this.removeAll(client))
    }
  }

  /** Ends a membership; nothing happens for a client or a filter that has none. */
  remove(client: Client, topicFilter: string): void {
    const group = this.groups.get(topicFilter)
    if (!group?.remove(client) || group.size > 0) return
    this.groups.delete(topicFilter)
    this.aedes.unsubscribe(group.filter, group.deliver, () => {})
  }

  /**
   * Aedes drops what a client has seen of a broker before, by a counter that only grows. Copies for groups count apart
   * from ordinary messages, of which the same client may get one too (MQTT 5, 4.8.2), and those of QoS 0, which
   * overtake the others on their way into a stored session, apart again.
   */
  private readonly stamp = (qos: number): Stamp => ({
    brokerId: `${this.aedes.id}/share/${qos === 0 ? 0 : 1}`,
    brokerCounter: ++this.copies,
  })

  private removeAll(client: Client): void {
    for (const topicFilter of [...this.groups.keys()]) this.remove(client, topicFilter)
  }
}

interface Stamp {
  brokerId: string
  brokerCounter: number
}

interface Member {
  client: ReadyClient
  qos: 0 | 1 | 2
}

class Group {
  readonly filter: string
  private readonly stamp: (qos: number) => Stamp
  private readonly members: Member[] = []
  /** Index of the member whose turn it was. */
  private last = -1

  constructor(filter: string, stamp: (qos: number) => Stamp) {
    this.filter = filter
    this.stamp = stamp
  }

  get size(): number {
    return this.members.length
  }

  add(client: ReadyClient, qos: 0 | 1 | 2): void {
    const member = this.members.find(candidate => candidate.client === client)
    if (member) member.qos = qos
    else this.members.push({ client, qos })
  }

  remove(client: Client): boolean {
    const index = this.members.findIndex(member => member.client === client)
    if (index < 0) return false
    this.members.splice(index, 1)
    // The turn stays with whoever had it.
    if (index <= this.last) this.last--
    return true
  }

  /** Hands a message to one member. `done` takes no error: Aedes would make it the publisher's. */
  readonly deliver = (packet: AedesPublishPacket, done: () => void): void => {
    const member = this.choose()
    if (!member) {
      done()
      return
    }
    // MQTT 3.1.1, 3.8.4-6: the lower of the message's QoS and the one granted.
    const qos = Math.min(packet.qos, member.qos) as 0 | 1 | 2
    const copy: AedesPublishPacket = {
      cmd: 'publish',
      topic: packet.topic,
      payload: packet.payload,
      qos,
      retain: false,
      dup: false,
      ...this.stamp(qos),
    }
    member.client.publish(copy, () => done())
  }

  /**
   * The next in turn whose connection takes data. When all are behind, the next one: its full buffer then slows the
   * publishers down, as it does for an ordinary subscription.
   */
  private choose(): Member | undefined {
    let behind: number | undefined
    for (let step = 1; step <= this.members.length; step++) {
      const index = (this.last + step) % this.members.length
      const { client } = this.members[index]!
      if (client.closed || !client.connackSent) continue
      if (!client.conn.writableNeedDrain) {
        this.last = index
        return this.members[index]
      }
      behind ??= index
    }
    if (behind === undefined) return undefined
    this.last = behind
    return this.members[behind]
  }
}
