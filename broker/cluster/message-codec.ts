import type { AedesPublishPacket } from 'aedes'
import { decode, encode } from 'cbor-x'
import type { Stamp } from '../persistence/persistence.ts'
import { isOrder, type Outgoing } from '../persistence/queues.ts'

type Fields = Pick<AedesPublishPacket, 'topic' | 'payload' | 'qos' | 'retain'>

/** A message as bytes for Redis: whether it gives way last, its size, and the rest (see `scripts.ts`). */
export function encodeMessage({ topic, payload, qos, retain }: Fields): Buffer {
  const bytes = Buffer.byteLength(topic) + Buffer.byteLength(payload)
  const head = Buffer.from(`${isOrder(topic) ? 'o' : 't'}${bytes}:`)
  return Buffer.concat([head, encode([topic, payload, qos, retain])])
}

/** Reads such bytes; a PUBREL when nothing follows the head. The stamp is `brokerId:brokerCounter`. */
export function decodeMessage(message: Buffer, stamp: string, messageId?: number): Outgoing {
  const body = message.subarray(message.indexOf(':') + 1)
  if (body.length === 0) return { cmd: 'pubrel', messageId: messageId! }
  const [topic, payload, qos, retain] = decode(body) as [string, string | Buffer, 0 | 1 | 2, boolean]
  const colon = stamp.lastIndexOf(':')
  const [brokerId, brokerCounter] = [stamp.slice(0, colon), Number(stamp.slice(colon + 1))]
  const packet = { cmd: 'publish', brokerId, brokerCounter, topic, payload, qos, retain, dup: false, messageId }
  return packet as AedesPublishPacket
}

export const stampOf = ({ brokerId = '', brokerCounter = 0 }: Stamp): string => `${brokerId}:${brokerCounter}`
