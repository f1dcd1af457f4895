import { EventEmitter, once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { parseTopic, type TopicKind } from '@faultline/protocol'
import packets, { type IPublishPacket } from 'mqtt-packet'

/** A broker that takes everything, remembers what it took on the wire, and acknowledges publications only if told to. */
export class CountingBroker {
  readonly secret = 'any'
  readonly published: { kind: TopicKind; bytes: number }[] = []
  acknowledges = true
  url = ''
  private readonly events = new EventEmitter()
  private readonly sockets = new Set<Socket>()
  private readonly server = createServer(socket => this.join(socket))

  async start(t: TestContext): Promise<void> {
    this.server.listen(0, '127.0.0.1')
    await once(this.server, 'listening')
    this.url = `mqtt://127.0.0.1:${(this.server.address() as AddressInfo).port}`
    t.after(() => {
      this.server.close()
      this.cut()
    })
  }

  cut(): void {
    for (const socket of this.sockets) socket.destroy()
  }

  bytes(kind?: TopicKind): number {
    return this.published
      .filter(one => kind === undefined || one.kind === kind)
      .reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Resolves once so many messages have arrived. */
  async reached(count: number): Promise<void> {
    const signal = AbortSignal.timeout(120_000)
    while (this.published.length < count) await once(this.events, 'published', { signal })
  }

  /** Resolves once so many bytes of a kind have arrived. */
  async took(kind: TopicKind, bytes: number): Promise<void> {
    const signal = AbortSignal.timeout(20_000)
    while (this.bytes(kind) < bytes) await once(this.events, 'published', { signal })
  }

  private join(socket: Socket): void {
    this.sockets.add(socket)
    socket.on('error', () => {}) // Its end is what matters.
    socket.on('close', () => this.sockets.delete(socket))
    const parser = packets.parser()
    socket.on('data', chunk => parser.parse(chunk))
    parser.on('packet', packet => {
      if (packet.cmd === 'connect') {
        socket.write(packets.generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }))
      } else if (packet.cmd === 'subscribe') {
        const granted = packet.subscriptions.map(() => 1)
        socket.write(packets.generate({ cmd: 'suback', messageId: packet.messageId!, granted }))
      } else if (packet.cmd === 'publish') this.take(packet, socket)
    })
  }

  private take(packet: IPublishPacket, socket: Socket): void {
    const { topic, messageId, qos } = packet
    // What arrived, generated anew: the size on the wire without the arithmetic under test.
    this.published.push({ kind: parseTopic(topic)!.kind, bytes: packets.generate(packet).length })
    this.events.emit('published')
    if (this.acknowledges && qos === 1) socket.write(packets.generate({ cmd: 'puback', messageId: messageId! }))
  }
}

export async function countingBroker(t: TestContext): Promise<CountingBroker> {
  const broker = new CountingBroker()
  await broker.start(t)
  return broker
}
