import type { EventEmitter } from 'node:events'
import type { Aedes, Client, Subscription } from 'aedes'
import { type Packet, writeToStream } from 'mqtt-packet'

/** The parser of a client, which Aedes' types leave out. */
type Parser = EventEmitter & {
  /** How much of the packet it has read. */
  readonly _pos: number
  readonly packet: Packet | undefined
}

/** A SUBSCRIBE that names a filter more than once, and is still to be answered. */
interface Repeated {
  messageId: number
  asked: readonly { topic: string; qos: number }[]
}

/** MQTT 3.1.1, 3.2.2.3: the level of the protocol is not supported. */
const unsupportedLevel = Buffer.from([0x20, 2, 0, 1])
const refused = 0x80

/**
 * What MQTT 3.1.1 asks of packets and of their answers beyond what mqtt-packet and Aedes do: it stands between the parser
 * and the handlers of each connection.
 */
export class PacketRules {
  private readonly wrongLevel: (client: Client, level: number) => void
  /** By the first of the subscriptions that Aedes makes of it. */
  private readonly repeated = new WeakMap<object, Repeated>()

  /** `wrongLevel` is called for a level above 5; a CONNECT of level 5 can be read, and reaches Aedes. */
  constructor(aedes: Aedes, wrongLevel: (client: Client, level: number) => void) {
    this.wrongLevel = wrongLevel
    aedes.on('subscribe', (subscriptions, client) => this.answer(subscriptions, client))
  }

  /** For a connection from which nothing was read yet. */
  apply(client: Client): void {
    const parser = (client as unknown as { _parser: Parser })._parser
    const take = parser.listeners('packet')[0] as (packet: Packet) => void
    parser.off('packet', take)
    parser.on('packet', (packet: Packet) => {
      const fault = faultOf(packet, parser._pos)
      if (fault !== undefined) parser.emit('error', new Error(fault))
      else take.call(parser, packet.cmd === 'subscribe' ? this.withoutRepeats(packet) : packet)
    })
    parser.prependListener('error', (error: Error) => {
      if (error.message !== 'Invalid protocol version') return
      // MQTT 3.1.1, 3.1.2-2: CONNACK 1, then the connection is closed. Levels of bridges come without their highest bit.
      client.conn.write(unsupportedLevel)
      this.wrongLevel(client, (parser.packet as { protocolVersion?: number }).protocolVersion ?? 0)
    })
  }

  /**
   * MQTT 3.1.1, 3.8.4-5 and 3.9.3: there is a return code for each filter, also for one that comes again. Aedes takes the last
   * of each and gives one code for it; here it is not asked to answer.
   */
  private withoutRepeats<P extends Packet & { cmd: 'subscribe' }>(packet: P): P {
    const { subscriptions, messageId } = packet
    const last = new Map<string, object>()
    for (const subscription of subscriptions) last.set(subscription.topic, subscription)
    if (last.size === subscriptions.length) return packet
    const [first] = last.values()
    const asked = subscriptions.map(({ topic, qos }) => ({ topic, qos }))
    this.repeated.set(first!, { messageId: messageId!, asked })
    packet.messageId = undefined
    return packet
  }

  private answer(subscriptions: readonly Subscription[], client: Client): void {
    const repeated = subscriptions[0] && this.repeated.get(subscriptions[0])
    if (!repeated) return
    const denied = new Set(subscriptions.filter(({ qos }) => Number(qos) === refused).map(({ topic }) => topic))
    const granted = repeated.asked.map(({ topic, qos }) => (denied.has(topic) ? refused : qos))
    writeToStream({ cmd: 'suback', messageId: repeated.messageId, granted }, client.conn)
  }
}

/** What MQTT 3.1.1 forbids in a packet; undefined when it is as it should be. The connection is to be closed (4.8.0-1). */
function faultOf(packet: Packet, read: number): string | undefined {
  const { cmd } = packet
  if (cmd === 'publish') {
    if (packet.qos > 0) return packet.messageId === 0 ? 'a PUBLISH with packet identifier 0 (2.3.1-1)' : undefined
    return packet.dup ? 'a PUBLISH of QoS 0 with DUP (3.3.1-2)' : undefined
  }
  if (read !== packet.length) return `a ${cmd.toUpperCase()} that is not as long as it says`
  if (cmd === 'connect') {
    // MQTT 5 gives them a meaning.
    const nameless = packet.protocolVersion !== 5 && packet.username === undefined && packet.password !== undefined
    return nameless ? 'a CONNECT with a password and no user name (3.1.2-22)' : undefined
  }
  if (cmd !== 'subscribe' && cmd !== 'unsubscribe') return undefined
  const filters = cmd === 'subscribe' ? packet.subscriptions : packet.unsubscriptions
  if (filters.length === 0) return `${cmd.toUpperCase()} without a filter (3.8.3-3, 3.10.3-2)`
  return packet.messageId === 0 ? `${cmd.toUpperCase()} with packet identifier 0 (2.3.1-1)` : undefined
}
