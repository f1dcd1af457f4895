import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { gunzipSync } from 'node:zlib'

export interface WriteWitness {
  url: string
  /** Measurement and id of the points that InfluxDB said it has, in the order it said so; each once. */
  written: string[]
  /** Requests that were compressed, and all. */
  requests: { compressed: number; all: number }
}

/** Stands between a store and an InfluxDB and notes what is written, in which order. */
export async function startWriteWitness(
  t: { after(clean: () => Promise<void>): void },
  influx: string,
): Promise<WriteWitness> {
  const { hostname: host, port } = new URL(influx)
  const seen = new Set<string>()
  const witness: WriteWitness = { url: '', written: [], requests: { compressed: 0, all: 0 } }
  const pass = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    try {
      const body = Buffer.concat(await incoming.toArray())
      const { method, url: path, headers } = incoming
      const forwarded = request({ host, port, method, path, headers, agent: false }).end(body)
      const [response] = await once(forwarded, 'response')
      const answer = Buffer.concat(await response.toArray())
      if (path?.startsWith('/write') && response.statusCode === 204) note(body, headers['content-encoding'] === 'gzip')
      outgoing.writeHead(response.statusCode, response.headers).end(answer)
    } catch {
      // InfluxDB is away, or went while it was asked.
      outgoing.destroy()
    }
  }
  const server = createServer((incoming, outgoing) => {
    pass(incoming, outgoing).catch(() => outgoing.destroy())
  })
  const note = (body: Buffer, compressed: boolean) => {
    witness.requests.all++
    if (compressed) witness.requests.compressed++
    const text = (compressed ? gunzipSync(body) : body).toString('latin1')
    for (const [, measurement, id] of text.matchAll(/^(\w+),.*?[ ,]id="([^"]*)"/gm)) {
      const point = `${measurement} ${id}`
      if (!seen.has(point)) witness.written.push(point)
      seen.add(point)
    }
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => {
    server.close()
    server.closeAllConnections()
  })
  witness.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return witness
}

/**
 * Publishes QoS 1 over a connection of its own, as fast as the broker acknowledges: packets go out together, `window` of
 * them unacknowledged at a time.
 */
export async function publishAll(
  url: string,
  packets: readonly Buffer[],
  { window = 2_000, pace = async (_published: number) => {} } = {},
): Promise<void> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  // CONNECT of MQTT 3.1.1: clean session, keep-alive off, client id "load".
  socket.write(Buffer.from([0x10, 16, 0, 4, ...Buffer.from('MQTT'), 4, 2, 0, 0, 0, 4, ...Buffer.from('load')]))
  let received = 0
  let woken = () => {}
  socket.on('data', data => {
    received += data.length
    woken()
  })
  // CONNACK and PUBACK are four bytes each.
  const acknowledged = async (count: number) => {
    while (received < 4 * count) {
      await new Promise<void>(resolve => {
        woken = resolve
      })
    }
  }
  await acknowledged(1)
  for (let sent = 0; sent < packets.length; sent += window) {
    socket.write(Buffer.concat(packets.slice(sent, sent + window)))
    await acknowledged(1 + Math.min(sent + window, packets.length))
    await pace(sent + window)
  }
  socket.end()
}
