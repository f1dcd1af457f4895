import { Broker } from '@faultline/broker'
import { hashSecret, parseIdentity } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { fixedRegistry } from '../support/registry.ts'

/** What the broker of a fuzz test tells when it is asked. */
export interface Standing {
  /** Bytes on the heap, and outside of it, after a collection. */
  heapBytes: number
  externalBytes: number
  /** Connections logged in, by our count and by that of Aedes, and open sockets but for the listener's. */
  connected: number
  clients: number
  sockets: number
  timers: number
  /** Packets that Aedes has read, and streams in which it found one that is none. */
  packets: number
  malformed: number
  processorS: number
}

// Started by fork: STORE SECRET. Everybody whose name is a name is enrolled.
const [store, secret] = process.argv.slice(2)
const secretHash = await hashSecret(secret!)
const broker = new Broker({
  port: 0,
  registry: fixedRegistry(name => ({ identity: parseIdentity(name), secretHash })),
  store: store!,
  logger: silentLogger,
})
await broker.start()
const { aedes } = broker.engine!

let packets = 0
let malformed = 0
const handle = aedes.handle.bind(aedes)
aedes.handle = (connection, request) => {
  const client = handle(connection, request)
  const { _parser: parser } = client as unknown as { _parser: NodeJS.EventEmitter }
  parser.on('packet', () => packets++)
  parser.on('error', () => malformed++)
  return client
}

process.on('message', () => {
  globalThis.gc!()
  const { heapUsed: heapBytes, external: externalBytes } = process.memoryUsage()
  const resources = process.getActiveResourcesInfo()
  const count = (name: string) => resources.filter(resource => resource === name).length
  const standing: Standing = {
    heapBytes,
    externalBytes,
    connected: broker.counts.connected,
    clients: aedes.connectedClients,
    sockets: count('TCPSocketWrap'),
    timers: count('Timeout'),
    packets,
    malformed,
    processorS: process.cpuUsage().user / 1e6,
  }
  process.send!(standing)
})
process.send!(broker.port)
