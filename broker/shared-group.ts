import type { Aedes, AedesPublishPacket, Client } from 'aedes'
import { deliveryOf } from './delivery.ts'
import type { GroupPersistence } from './shared-subscriptions.ts'

/** When a queue that could not be read, or a member that could not be sent to, is tried again, in ms. */
const rereadMs = 1_000

/** The parts of Aedes' client that its types leave out. */
export type MemberClient = Client & {
  /** CONNACK was written, so that PUBLISH may follow. */
  readonly connackSent: boolean
  deliverQoS(packet: AedesPublishPacket, done: () => void): void
}

interface Member {
  client: MemberClient
  qos: 0 | 1 | 2
  /** What it has to acknowledge, by packet identifier. */
  readonly inFlight: Map<number, AedesPublishPacket>
}

export interface GroupOptions {
  /** The shared filter, which names its session. */
  id: string
  filter: string
  inFlight: number
  emptyMs: number
  aedes: Pick<Aedes, 'subscribe' | 'unsubscribe'>
  persistence: GroupPersistence
  stamp(): { brokerId: string; brokerCounter: number }
  dropped(): void
  /** Its queue could not be read; that is tried again. */
  unreadable(error: Error): void
  /** It has had no member for `emptyMs`. */
  abandoned(): void
}

/**
 * One shared subscription and the members among which its messages are divided. The queue of its session holds what
 * no member has acknowledged, in flight or not.
 */
export class Group {
  private readonly options: GroupOptions
  private readonly members: Member[] = []
  /** Index of the member whose turn it was. */
  private last = -1
  /** Stamps of what is in flight. */
  private readonly inFlight = new Set<string>()
  /** Whether the queue holds what is not in flight, and from where on. */
  private backlog = true
  private readTo = 0
  private draining: NodeJS.Immediate | undefined
  private timer: NodeJS.Timeout | undefined
  private retry: NodeJS.Timeout | undefined
  private closed = false

  constructor(options: GroupOptions) {
    this.options = options
  }

  open(): void {
    const { aedes, filter } = this.options
    aedes.subscribe(filter, this.deliver, () => {})
    this.awaitMembers()
  }

  close(): void {
    clearTimeout(this.timer)
    clearImmediate(this.draining)
    clearTimeout(this.retry)
    this.closed = true
    this.options.aedes.unsubscribe(this.options.filter, this.deliver, () => {})
  }

  add(client: Client, qos: 0 | 1 | 2): void {
    clearTimeout(this.timer)
    const member = this.members.find(candidate => candidate.client === client)
    if (member) member.qos = qos
    else this.members.push({ client: client as MemberClient, qos, inFlight: new Map() })
    this.drain()
  }

  /**
   * MQTT 5, 4.8.2: what was sent at QoS 1 and is not acknowledged may go to another member as soon as its client has lost
   * the connection, and so it does.
   */
  remove(client: Client): void {
    const index = this.members.findIndex(member => member.client === client)
    if (index < 0) return
    const [gone] = this.members.splice(index, 1)
    // The turn stays with whoever had it.
    if (index <= this.last) this.last--
    this.giveBack(gone!.inFlight.values())
    if (this.members.length > 0) this.drain()
    else this.awaitMembers()
  }

  acknowledge(client: Client, messageId: number): boolean {
    const member = this.members.find(candidate => candidate.client === client)
    const packet = member?.inFlight.get(messageId)
    if (!member || !packet) return false
    member.inFlight.delete(messageId)
    this.complete(packet).catch(this.options.unreadable)
    if (this.backlog) this.drain()
    return true
  }

  /** Sends what waits, once the present turn of the event loop is over. */
  drain(): void {
    if (this.closed) return
    this.draining ??= setImmediate(() => {
      this.draining = undefined
      this.sendBacklog()
    })
  }

  /** A message was published. Aedes has put it into the queue already when it is of QoS 1 or 2. */
  private readonly deliver = (packet: AedesPublishPacket, done: () => void): void => {
    setImmediate(done) // Publishers do not wait for members.
    // What waits already comes first (MQTT 5, 4.6 asks for no order here, but members expect one).
    if (packet.qos > 0 && this.backlog) {
      this.drain()
      return
    }
    const member = this.choose(packet.qos)
    if (member) this.send(member, packet)
    else if (packet.qos > 0) this.backlog = true
    else this.options.dropped()
  }

  private sendBacklog(): void {
    // Not even a look at the queue for every message that comes for members who are busy.
    if (!this.backlog || !this.members.some(member => this.hasRoom(member, 1))) return
    const { persistence, id, unreadable } = this.options
    try {
      for (const { sequence, packet } of persistence.readQueue(id, this.readTo)) {
        if (packet.cmd === 'publish' && !this.inFlight.has(stampOf(packet))) {
          const member = this.choose(packet.qos)
          if (!member) return
          this.send(member, packet)
        }
        this.readTo = sequence
      }
      this.backlog = false
    } catch (thrown) {
      unreadable(thrown as Error)
      this.retry = setTimeout(() => this.drain(), rereadMs).unref()
    }
  }

  private send(member: Member, packet: AedesPublishPacket): void {
    const { stamp } = this.options
    const { client } = member
    // MQTT 5, 4.8.2-3: the QoS granted to that member; MQTT 3.1.1, 3.8.4-6: the lower of it and the message's.
    const qos = Math.min(packet.qos, member.qos) as 0 | 1 | 2
    const { topic, payload } = packet
    const copy: AedesPublishPacket = { cmd: 'publish', topic, payload, qos, retain: false, dup: false, ...stamp() }
    if (packet.qos > 0) this.inFlight.add(stampOf(packet))
    if (qos === 1) {
      const messageId = deliveryOf(client)!.nextId()
      member.inFlight.set(messageId, packet)
      client.deliverQoS(Object.assign(copy, { messageId }), () => {})
      return
    }
    // MQTT 5, 4.8.2-4 and 4.8.2-5: of QoS 2 the delivery is completed to that client, over a new connection if need be,
    // or to nobody. So it is the business of the client's own session from here on, as is QoS 0 of nobody's.
    if (qos === 2 && !client.clean) {
      this.handOver(member, packet, copy).catch(this.options.unreadable)
      return
    }
    client.publish(copy, () => {
      if (packet.qos > 0) this.complete(packet).catch(this.options.unreadable)
    })
  }

  /** The member's own queue has a message from the transaction on in which the group's has it no more. Never rejects. */
  private async handOver({ client }: Member, packet: AedesPublishPacket, copy: AedesPublishPacket): Promise<void> {
    const { persistence, id } = this.options
    try {
      await persistence.moveQueued(id, packet, client.id, copy)
    } catch {
      // The store has said why.
      this.giveBack([packet])
      this.retry = setTimeout(() => this.drain(), rereadMs).unref()
      return
    }
    this.inFlight.delete(stampOf(packet))
    client.deliverQoS(copy, () => {})
  }

  /** A message is done with. Never rejects. */
  private async complete(packet: AedesPublishPacket): Promise<void> {
    const { persistence, id } = this.options
    await persistence.removeQueued(id, packet)
    // Not before: it is read from the queue again for as long as it is there.
    this.inFlight.delete(stampOf(packet))
  }

  private giveBack(packets: Iterable<AedesPublishPacket>): void {
    for (const packet of packets) {
      this.inFlight.delete(stampOf(packet))
      this.readTo = 0
      this.backlog = true
    }
  }

  /**
   * The next in turn whose connection takes data and that has room for one more in flight. When all that have room are
   * behind, the next of them; when none has room, nobody: the message waits.
   */
  private choose(qos: number): Member | undefined {
    let behind: number | undefined
    for (let step = 1; step <= this.members.length; step++) {
      const index = (this.last + step) % this.members.length
      const member = this.members[index]!
      if (!this.hasRoom(member, qos)) continue
      if (!member.client.conn.writableNeedDrain) {
        this.last = index
        return member
      }
      behind ??= index
    }
    if (behind === undefined) return undefined
    this.last = behind
    return this.members[behind]
  }

  private hasRoom({ client, inFlight }: Member, qos: number): boolean {
    return !client.closed && client.connackSent && (qos === 0 || inFlight.size < this.options.inFlight)
  }

  /**
   * A group outlives its last member, however that went: a server agent that is restarted or killed finds what was not
   * done and what came meanwhile.
   */
  private awaitMembers(): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(this.options.abandoned, this.options.emptyMs)
    this.timer.unref()
  }
}

const stampOf = ({ brokerId, brokerCounter }: AedesPublishPacket): string => `${brokerId}:${brokerCounter}`
