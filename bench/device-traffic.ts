import { delivery, encodePayload, identityOf, publishPacketBytes, type TopicKind, topicOf } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { benchSecret } from './broker-load.ts'

/**
 * What a packet takes on the wire beside itself. TLS 1.3 adds 22 bytes to a record (RFC 8446, 5.2: header, content type,
 * tag); IPv4 and TCP with timestamps 52 to a segment. A packet of QoS 1 is answered with a PUBACK of 4 bytes, a ping with
 * another of 2, each a record and a segment of its own, and the answer is acknowledged by an empty segment. More
 * segments where a packet is longer than one.
 */
const record = 22
const segment = 52
const segmentPayload = 1_448
const ping = 2 + 2 + 2 * record + 3 * segment

function wireBytes(packet: number, qos: 0 | 1 | 2): number {
  const segments = Math.ceil((packet + record) / segmentPayload)
  const answer = qos === 0 ? segment : 4 + record + 2 * segment
  return packet + record + segments * segment + answer
}

/** Bytes of messages of one kind. */
interface Sum {
  messages: number
  /** MQTT packets. */
  packets: number
  /** An estimate of what they take on a link, all layers above IP and IP itself. */
  wire: number
}

const daySeconds = 86_400

/** Listens to all that goes between a device and its servers. */
export class Traffic {
  private readonly sums = new Map<TopicKind, Sum>()
  private readonly session: MqttSession
  private saidGoodbye = () => {}
  private readonly goodbye = new Promise<void>(resolve => {
    this.saidGoodbye = resolve
  })

  constructor(url: string, device: string) {
    this.session = new MqttSession({
      url,
      secret: benchSecret,
      identity: identityOf('operator', 'bench'),
      clientId: `traffic-of-${device}`,
      subscriptions: [`faultline/v1/devices/bench/${device}/#`],
      onMessage: message => {
        const { kind, address, payload } = message
        this.add(
          kind,
          publishPacketBytes(topicOf(address), encodePayload(kind, payload).byteLength, delivery[kind].qos),
        )
        if (message.kind === 'state' && !message.payload.online) this.saidGoodbye()
      },
      logger: silentLogger,
    })
  }

  async start(): Promise<void> {
    await this.session.start()
    await this.session.whenOnline()
  }

  /** Once the device has said goodbye, after which nothing comes. */
  async stop(): Promise<void> {
    await this.goodbye
    await this.session.stop()
  }

  /**
   * Bytes of a day by kind, from what went in a part of it: summaries and health by their size and their interval, state
   * and configuration as for one connection, all else as often as it was. Pings as if nothing else were ever sent.
   */
  day(part: { seconds: number; summaryIntervalS: number; healthIntervalS: number; keepAliveS: number }): Day {
    const times = (kind: TopicKind, { messages }: Sum) => {
      if (kind === 'summary') return daySeconds / part.summaryIntervalS / messages
      if (kind === 'health') return daySeconds / part.healthIntervalS / messages
      // Once with every connection.
      if (kind === 'state' || kind === 'config-reported') return 1
      return daySeconds / part.seconds
    }
    const kinds = [...this.sums].map(([kind, sum]) => [kind, sum.wire * times(kind, sum)] as const)
    const pings = (daySeconds / part.keepAliveS) * ping
    return {
      packets: [...this.sums].reduce((total, [kind, sum]) => total + sum.packets * times(kind, sum), 0),
      wire: kinds.reduce((total, [, bytes]) => total + bytes, pings),
      byKind: { ...Object.fromEntries(kinds), pings },
    }
  }

  private add(kind: TopicKind, packet: number): void {
    const sum = this.sums.get(kind) ?? { messages: 0, packets: 0, wire: 0 }
    sum.messages++
    sum.packets += packet
    sum.wire += wireBytes(packet, delivery[kind].qos)
    this.sums.set(kind, sum)
  }
}

export interface Day {
  packets: number
  wire: number
  /** On the wire. */
  byKind: Record<string, number>
}
