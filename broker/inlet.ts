import type { Duplex } from 'node:stream'
import { FaultlineError } from '@faultline/protocol'
import { PacketCap } from './packet-cap.ts'
import type { RateLimit } from './rate-limit.ts'

export interface InletOptions {
  packetBytes: number
  /** The same for CONNECT. */
  connectBytes: number
  rate: RateLimit
  /** A packet is announced that is larger than allowed; the connection is ended. */
  oversized(): void
  heldBack(): void
  /** Holding back did not help; the connection is ended. */
  tooFast(): void
}

/**
 * Stands before whatever reads packets from a connection: caps their size before they are kept, and holds a client back
 * that sends too fast. What is not read stays in the system's buffers, and TCP tells the client to wait. Taking the place
 * of `read` costs one look at each header; a stream in between would copy every byte.
 */
export function controlInlet(connection: Duplex, options: InletOptions): void {
  const { packetBytes, connectBytes, rate, oversized, heldBack, tooFast } = options
  const cap = new PacketCap(packetBytes, Math.min(packetBytes, connectBytes))
  const read = connection.read.bind(connection)
  let pause: NodeJS.Timeout | undefined
  connection.once('close', () => clearTimeout(pause))
  const end = (code: 'MESSAGE_TOO_LARGE' | 'CLIENT_TOO_FAST', message: string) => {
    connection.destroy(new FaultlineError(code, message))
    return null
  }
  connection.read = (size?: number) => {
    if (pause) return null
    const waitMs = rate.waitMs()
    if (waitMs > 0) {
      // Somebody who has stopped sending is only waiting for us.
      const { graceMs } = rate
      if (graceMs === 0 && connection.readableLength > 0) {
        tooFast()
        return end('CLIENT_TOO_FAST', 'it sends more than its share all the time')
      }
      heldBack()
      pause = setTimeout(
        () => {
          pause = undefined
          connection.emit('readable')
        },
        graceMs > 0 ? Math.min(waitMs, graceMs) : waitMs,
      )
      return null
    }
    const chunk: Buffer | null = read(size)
    if (chunk === null) return null
    const before = cap.publishes
    if (!cap.accepts(chunk)) {
      oversized()
      return end('MESSAGE_TOO_LARGE', `a packet exceeds ${packetBytes} bytes, or ${connectBytes} before the login`)
    }
    rate.took(cap.publishes - before, chunk.length)
    return chunk
  }
}
