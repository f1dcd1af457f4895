import { FaultlineError } from '@faultline/protocol'
import type { AedesPublishPacket, Client } from 'aedes'

type Stamped = Omit<AedesPublishPacket, 'brokerId'> & { brokerId?: string | null | undefined }
type Deliver = (packet: Stamped, done: () => void) => void

/** The parts of Aedes' client that its types leave out. */
type DeliveringClient = Client & {
  duplicates: Record<string, number>
  connackSent: boolean
  deliver0: Deliver
  deliverQoS: Deliver
}

export interface DeliveryOptions {
  /** Bytes that may wait for a client that reads slowly. */
  outboundBytes: number
  /** A message of QoS 0 was not sent because its client is behind. */
  dropped(client: Client): void
  /** A client is too far behind for what it has to get. */
  tooSlow(client: Client): void
}

/**
 * Takes charge of how a client is handed messages; for a client that has no subscriptions yet.
 *
 * Aedes waits for every receiver of a message, and for a hundred messages at a time: one client that does not read would
 * hold up everybody. Here nobody waits for another. What a client leaves unread is bounded: above the bound it misses
 * messages of QoS 0, and for one of QoS 1 or 2, which it must not miss, its connection ends; a stored session gets it
 * when it returns.
 *
 * And Aedes takes a message for a duplicate when one with a higher number came before, which loses messages that
 * overtake each other on their way (https://github.com/moscajs/aedes/issues/994). A client whose filters overlap gets its
 * copies of a message one right after the other, so it is enough to compare with the last.
 */
export function governDelivery(anyClient: Client, options: DeliveryOptions): void {
  const client = anyClient as DeliveringClient
  let last: { id: string | null | undefined; counter: number | undefined } | undefined
  let unread = 0

  const forgetOthers = ({ brokerId: id, brokerCounter: counter }: Stamped) => {
    if (last && last.id === id && last.counter === counter) return
    last = { id, counter }
    client.duplicates = Object.create(null)
  }

  const govern =
    (deliver: Deliver, maximumQos: 0 | 2): Deliver =>
    (packet, done) => {
      // A retained message that a subscription brings: the stream it comes from is nobody else's, and may wait.
      if (packet.brokerId === null) return deliver.call(client, packet, done)
      if (packet.qos === 0 && maximumQos > 0) return client.deliver0(packet, done)
      soon(done)
      // Nothing comes before CONNACK (MQTT 3.1.1, 3.2.0-1): a client may not read on until it could acknowledge it. Aedes has
      // renewed the subscriptions of a session by then; what it must not miss is in its queue, which it gets next.
      if (client.closed || !client.connackSent) return
      forgetOthers(packet)
      const bytes = packet.topic.length + packet.payload.length
      // A message that is larger than the bound is sent to a client that is not behind.
      if (unread > 0 && unread + bytes > options.outboundBytes) {
        if (Math.min(packet.qos, maximumQos) === 0) return options.dropped(client)
        options.tooSlow(client)
        client.conn.destroy(new FaultlineError('CLIENT_TOO_SLOW', `${unread} bytes are unread`))
        return
      }
      unread += bytes
      // Called when the message was written, or when the connection takes data again.
      deliver.call(client, packet, () => {
        unread -= bytes
      })
    }

  client.deliver0 = govern(client.deliver0, 0)
  client.deliverQoS = govern(client.deliverQoS, 2)
}

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
