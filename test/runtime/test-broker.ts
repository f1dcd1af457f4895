import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { Aedes, type AedesPublishPacket } from 'aedes'

/** A plain broker whose refusals a test can switch on; it keeps its port over stop and start. */
export class TestBroker {
  port = 0
  /** CONNACK return code 4 for everybody while set. */
  refuseCredentials = false
  /** SUBACK return code 128 for these filters. */
  refusedFilters: string[] = []
  /** PUBACKs are held back by so much. */
  acknowledgeAfterMs = 0
  /** Retained messages are read at the subscription, and sent once this has resolved. */
  retainedAfter: Promise<void> | undefined
  /** Called when the retained messages of a subscription are on their way. */
  onRetainedSent = () => {}
  readonly published: { topic: string; payload: string; qos: number; retain: boolean }[] = []
  subscriptions = 0
  /** Called whenever a subscription is in place. */
  onSubscribed = () => {}
  connections = 0
  private aedes: Aedes | undefined
  private server: Server | undefined
  private readonly sockets = new Set<Socket>()

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    const aedes = await Aedes.createBroker({
      authenticate: (_client, _name, _secret, done) => {
        this.connections++
        if (this.refuseCredentials) done(Object.assign(new Error('refused'), { returnCode: 4 }) as never, false)
        else done(null, true)
      },
      authorizeSubscribe: (_client, subscription, done) => {
        this.subscriptions++
        done(null, this.refusedFilters.includes(subscription.topic) ? null : subscription)
      },
      authorizePublish: (_client, _packet, done) => {
        if (this.acknowledgeAfterMs === 0) done(null)
        else setTimeout(() => done(null), this.acknowledgeAfterMs).unref()
      },
    })
    aedes.on('publish', packet => {
      if (!packet.topic.startsWith('$SYS')) this.note(packet)
    })
    aedes.on('subscribe', () => this.onSubscribed())
    this.holdRetained(aedes)
    this.aedes = aedes
    this.server = createServer(socket => {
      this.sockets.add(socket)
      socket.on('close', () => this.sockets.delete(socket))
      aedes.handle(socket)
    })
    this.server.listen(this.port, '127.0.0.1')
    await once(this.server, 'listening')
    this.port = (this.server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    this.breakConnections()
    this.server?.close()
    await new Promise<void>(resolve => (this.aedes ? this.aedes.close(resolve) : resolve()))
  }

  /** Cuts every connection, as a failing network does. */
  breakConnections(): void {
    for (const socket of this.sockets) socket.destroy()
  }

  /** Publishes as the broker itself, past every refusal. */
  publish(topic: string, payload: string | Buffer, retain = false): void {
    this.aedes?.publish({ cmd: 'publish', topic, payload, qos: 1, retain, dup: false }, () => {})
  }

  /** As `publish`, retained; resolves when the broker has it. */
  async stored(topic: string, payload: Buffer): Promise<void> {
    const packet = { cmd: 'publish', topic, payload, qos: 1, retain: true, dup: false } as const
    await new Promise<void>(resolve => this.aedes?.publish(packet, () => resolve()))
  }

  private holdRetained(aedes: Aedes): void {
    const { persistence } = aedes as unknown as {
      persistence: { createRetainedStreamCombi(patterns: string[]): Readable }
    }
    const read = persistence.createRetainedStreamCombi.bind(persistence)
    const send = async function* (broker: TestBroker, found: Promise<unknown[]>) {
      const packets = await found
      await broker.retainedAfter
      yield* packets
      broker.onRetainedSent()
    }
    persistence.createRetainedStreamCombi = patterns => Readable.from(send(this, read(patterns).toArray()))
  }

  private note({ topic, payload, qos, retain }: AedesPublishPacket): void {
    this.published.push({ topic, payload: payload.toString(), qos, retain })
  }
}
