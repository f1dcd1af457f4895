import { once } from 'node:events'
import { connect as connectSocket, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { type IConnectPacket, type Packet, parser, writeToStream } from 'mqtt-packet'

/** A client that says what it is told to, and keeps no rules. */
export class RawClient {
  readonly socket: Socket
  private readonly packets: Packet[] = []

  constructor(socket: Socket) {
    this.socket = socket
    const reader = parser()
    reader.on('packet', packet => {
      this.packets.push(packet)
      socket.emit('packet')
    })
    socket.on('data', bytes => reader.parse(bytes))
    socket.on('error', () => {}) // The broker ends connections, with what was written on its way.
  }

  send(packet: Packet): void {
    writeToStream(packet, this.socket)
  }

  /** The next packet, whatever it is. */
  async take(signal: AbortSignal = AbortSignal.timeout(30_000)): Promise<Packet> {
    for (;;) {
      const packet = this.packets.shift()
      if (packet) return packet
      await once(this.socket, 'packet', { signal })
    }
  }

  /** The next packet of a kind; those before it are dropped. */
  async next<C extends Packet['cmd']>(cmd: C): Promise<Extract<Packet, { cmd: C }>> {
    const signal = AbortSignal.timeout(30_000)
    for (;;) {
      const packet = await this.take(signal)
      if (packet.cmd === cmd) return packet as Extract<Packet, { cmd: C }>
    }
  }

  /** What came and was not taken. */
  left(): Packet[] {
    return this.packets.splice(0)
  }

  /** The next packet of a kind; those before it stay, as a PUBLISH may precede a SUBACK (MQTT 3.1.1, 3.8.4). */
  async pick<C extends Packet['cmd']>(cmd: C): Promise<Extract<Packet, { cmd: C }>> {
    const signal = AbortSignal.timeout(10_000)
    for (;;) {
      const index = this.packets.findIndex(packet => packet.cmd === cmd)
      if (index >= 0) return this.packets.splice(index, 1)[0] as Extract<Packet, { cmd: C }>
      await once(this.socket, 'packet', { signal })
    }
  }

  /** Resolves when the broker has ended the connection. */
  async closed(): Promise<void> {
    const signal = AbortSignal.timeout(30_000)
    // An error comes first where the broker ended the connection with something on its way.
    while (!this.socket.closed && !signal.aborted) await once(this.socket, 'close', { signal }).catch(() => {})
    signal.throwIfAborted()
  }
}

/** A CONNECT of a client that wants nothing special. */
export const connectPacket = {
  cmd: 'connect',
  protocolId: 'MQTT',
  protocolVersion: 4,
  clean: true,
  keepalive: 0,
  clientId: 'raw',
} as const satisfies IConnectPacket

/** Opens a connection; sends CONNECT when there is one to send. */
export async function connectRaw(t: TestContext, port: number, packet?: Partial<IConnectPacket>): Promise<RawClient> {
  const socket = connectSocket(port, '127.0.0.1')
  t.after(() => socket.destroy())
  await once(socket, 'connect')
  const client = new RawClient(socket)
  if (packet) client.send({ ...connectPacket, ...packet })
  return client
}
