import { createServer } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { Broker } from '@faultline/broker'
import { hashSecret, parseIdentity } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { Aedes } from 'aedes'
import { benchSecret } from './broker-load.ts'

/** PEM files of a server, where TLS is measured. */
interface Tls {
  certificate: string
  key: string
}

/** Ours as it ships, but for a rate limit that one client is to reach: access control, limits and a store in a file. */
async function startOurs(store: string, tls?: Tls): Promise<number> {
  const secretHash = await hashSecret(benchSecret)
  const broker = new Broker({
    port: 0,
    registry: {
      credential: name => ({ identity: parseIdentity(name), secretHash }),
      certificate: () => undefined,
      version: () => '',
    },
    store,
    limits: { messagesPerSecond: 1_000_000, bytesPerSecond: 1e10 },
    logger: silentLogger,
    ...(tls && { tls: { ...tls, host: '127.0.0.1', port: 0, clientCertificates: 'none' } }),
  })
  await broker.start()
  return tls ? broker.tlsPort : broker.port
}

/** Aedes as it comes: anybody may do anything, and it remembers in memory. */
async function startAedes(tls?: Tls): Promise<number> {
  const aedes = await Aedes.createBroker()
  const { readFileSync } = await import('node:fs')
  const server = tls
    ? createTlsServer({ cert: readFileSync(tls.certificate), key: readFileSync(tls.key) }, aedes.handle)
    : createServer({ noDelay: true }, aedes.handle)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as { port: number }).port
}

// Started by fork: KIND STORE [CERTIFICATE KEY]
const [kind, store, certificate, key] = process.argv.slice(2)
const tls = certificate && key ? { certificate, key } : undefined
process.send!(kind === 'ours' ? await startOurs(store!, tls) : await startAedes(tls))
process.on('disconnect', () => process.exit())
