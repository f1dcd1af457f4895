import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { generate } from 'mqtt-packet'

export const benchSecret = 'a-secret-of-the-benchmark'

/** So many publishers to so many subscribers, each of whom gets every message. */
export interface Load {
  publishers: number
  subscribers: number
  qos: 0 | 1
  bytes: number
  /** Published in all. */
  messages: number
}

export interface LoadResult {
  seconds: number
  /** Of the load itself, on the processor. */
  processorS: number
}

/** Messages that are under way at most, so that no broker has to drop any. */
const window = 200

const filter = 'faultline/v1/devices/+/+/points/+/escalation'

/**
 * A client that knows just enough MQTT to be faster than a broker: packets to send are made beforehand, and of those that
 * come only the first bytes are looked at.
 */
class FastClient {
  readonly socket: Socket
  onPublish = () => {}
  onAnswer = () => {}
  private rest: Buffer = Buffer.alloc(0)

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', chunk => this.read(chunk))
  }

  static async open(
    port: number,
    name: string,
    clientId = name,
    socket = connect({ port, host: '127.0.0.1', noDelay: true }),
  ) {
    const client = new FastClient(socket)
    const failed = new Promise<never>((_, reject) => {
      socket.once('error', reject)
      socket.once('close', () => reject(new Error(`the broker ended the connection of ${clientId}`)))
    })
    failed.catch(() => {})
    const answered = new Promise<void>(resolve => {
      client.onAnswer = resolve
    })
    const login = { clientId, username: name, password: Buffer.from(benchSecret) }
    socket.write(
      generate({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 0, ...login }),
    )
    await Promise.race([answered, failed])
    return client
  }

  async subscribe(qos: 0 | 1): Promise<void> {
    const answered = new Promise<void>(resolve => {
      this.onAnswer = resolve
    })
    this.socket.write(generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos }] }))
    await answered
  }

  private read(chunk: Buffer): void {
    const bytes = this.rest.length > 0 ? Buffer.concat([this.rest, chunk]) : chunk
    let at = 0
    const acknowledgements: Buffer[] = []
    for (;;) {
      let body = at + 1
      let length = 0
      for (let shift = 0; body < bytes.length; shift += 7) {
        const byte = bytes[body++]!
        length += (byte & 0x7f) << shift
        if (byte < 0x80) break
      }
      if (body > bytes.length || at + 2 > bytes.length || bytes[body - 1]! >= 0x80 || body + length > bytes.length)
        break
      const type = bytes[at]! >> 4
      if (type === 3) {
        if (bytes[at]! & 0x06) {
          const id = body + 2 + bytes.readUInt16BE(body)
          acknowledgements.push(Buffer.of(0x40, 2, bytes[id]!, bytes[id + 1]!))
        }
        this.onPublish()
      } else this.onAnswer()
      at = body + length
    }
    this.rest = bytes.subarray(at)
    if (acknowledgements.length > 0) this.socket.write(Buffer.concat(acknowledgements))
  }
}

/** Clients that stay connected, for loads of one shape. */
class Crowd {
  private readonly publishers: FastClient[]
  private readonly subscribers: FastClient[]
  private readonly qos: 0 | 1

  private constructor(publishers: FastClient[], subscribers: FastClient[], qos: 0 | 1) {
    this.publishers = publishers
    this.subscribers = subscribers
    this.qos = qos
  }

  static async open(port: number, { publishers, subscribers, qos }: Load): Promise<Crowd> {
    // One after the other: a login costs the broker a hash.
    const devices: FastClient[] = []
    const servers: FastClient[] = []
    for (let i = 0; i < publishers; i++) devices.push(await FastClient.open(port, `devices/bench/d-${i}`))
    for (let i = 0; i < subscribers; i++) servers.push(await FastClient.open(port, `servers/s-${i}`))
    await Promise.all(servers.map(server => server.subscribe(qos)))
    return new Crowd(devices, servers, qos)
  }

  /** Sends messages and resolves when all were delivered to all, and acknowledged. */
  async run(bytes: number, messages: number): Promise<void> {
    const { publishers, subscribers } = this
    const qos = this.qos
    const packets = publishers.map((_, i) =>
      generate({
        cmd: 'publish',
        topic: `faultline/v1/devices/bench/d-${i}/points/de/escalation`,
        payload: Buffer.alloc(bytes, 7),
        qos,
        dup: false,
        retain: false,
        ...(qos === 1 && { messageId: 1 }),
      }),
    )
    const idAt = packets.map(packet => packet.length - bytes - 2)
    let sent = 0
    let delivered = 0
    let acknowledged = 0
    await new Promise<void>(resolve => {
      const advance = () => {
        const done = Math.min(
          Math.floor(delivered / subscribers.length),
          qos === 1 ? acknowledged : Number.POSITIVE_INFINITY,
        )
        while (sent < messages && sent - done < window) {
          const i = sent % publishers.length
          const packet = Buffer.from(packets[i]!)
          if (qos === 1) packet.writeUInt16BE((Math.floor(sent / publishers.length) % 60_000) + 1, idAt[i]!)
          publishers[i]!.socket.write(packet)
          sent++
        }
        if (delivered >= messages * subscribers.length && (qos === 0 || acknowledged >= messages)) resolve()
      }
      for (const subscriber of subscribers)
        subscriber.onPublish = () => {
          delivered++
          advance()
        }
      for (const publisher of publishers)
        publisher.onAnswer = () => {
          acknowledged++
          advance()
        }
      advance()
    })
  }

  close(): void {
    for (const { socket } of [...this.publishers, ...this.subscribers]) socket.destroy()
  }
}

/** Connects clients that say nothing; from several addresses of loopback, as each has only so many connections. */
async function openIdle(port: number, count: number): Promise<Socket[]> {
  const sockets: Socket[] = []
  for (let i = 0; i < count; i += 50) {
    const some = Array.from({ length: Math.min(50, count - i) }, async (_, j) => {
      const localAddress = `127.0.1.${1 + Math.floor((i + j) / 1_000)}`
      const socket = connectTls({
        port,
        host: '127.0.0.1',
        rejectUnauthorized: false,
        socket: connect({ port, host: '127.0.0.1', localAddress }),
      })
      await FastClient.open(port, 'operators/bench', `idle-${i + j}`, socket)
      sockets.push(socket)
    })
    await Promise.all(some)
  }
  return sockets
}

// Started by fork: PORT. Told {load} or {idle: COUNT}, one at a time.
if (process.send && process.argv[2]) {
  const port = Number(process.argv[2])
  let crowd: Crowd | undefined
  let shape = ''
  const carryOut = async ({ load, idle }: { load?: Load; idle?: number }): Promise<LoadResult | { failed: string }> => {
    const before = process.cpuUsage()
    if (load) {
      const wanted = `${load.publishers} ${load.subscribers} ${load.qos}`
      if (shape !== wanted) {
        crowd?.close()
        crowd = await Crowd.open(port, load)
        shape = wanted
      }
    }
    const started = performance.now()
    const processor = process.cpuUsage()
    if (load) await crowd!.run(load.bytes, load.messages)
    else await openIdle(port, idle!)
    const { user, system } = process.cpuUsage(load ? processor : before)
    return { seconds: (performance.now() - started) / 1_000, processorS: (user + system) / 1e6 }
  }
  process.on('message', (order: { load?: Load; idle?: number }) => {
    carryOut(order).then(
      result => process.send!(result),
      thrown => process.send!({ failed: (thrown as Error).message }),
    )
  })
  process.on('disconnect', () => process.exit())
}
