import type { TopicAddress } from '@faultline/protocol'

/** A report that is sent after later ones of its point, marked so; anything else as it is. */
export function asBacklog({ kind }: TopicAddress, payload: Buffer): Buffer {
  if (kind !== 'inference' && kind !== 'summary') return payload
  try {
    return Buffer.from(JSON.stringify({ ...JSON.parse(payload.toString('utf8')), backlog: true }))
  } catch {
    return payload // The receivers say what they think of it.
  }
}
