import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { after, before, type TestContext, test } from 'node:test'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { Broker, type BrokerOptions } from '@faultline/broker'
import type { Registry } from '@faultline/provisioning'
import { MqttSession, readCertificate, silentLogger } from '@faultline/runtime'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { type PairFiles, TestAuthority } from '../support/authority.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { anna, collect, connected, credentials, enrollAll, press, pump, refusalCode } from './harness.ts'
import { connectRaw } from './raw-client.ts'

const shared = { cleanUp: [] as (() => Promise<void>)[] }
let directory: string
let authority: TestAuthority
let registry: Registry
let secrets: ReadonlyMap<string, string>

before(async () => {
  directory = await temporaryDirectory({ after: callback => void shared.cleanUp.push(callback as never) })
  authority = await TestAuthority.create(directory)
  ;({ registry, secrets } = await enrollAll())
})
after(async () => {
  await registry.stop()
  for (const cleanUp of shared.cleanUp) await cleanUp()
})

type ClientCertificates = 'none' | 'optional' | 'required'

async function startTlsBroker(
  t: TestContext,
  clientCertificates: ClientCertificates,
  more: Partial<BrokerOptions> = {},
) {
  const pair = await authority.server()
  const tls = { host: '127.0.0.1', port: 0, webSocketPort: 0, ...pair, ca: authority.ca, clientCertificates }
  const broker = new Broker({ port: 0, registry, logger: silentLogger, tls, ...more })
  await broker.start()
  t.after(() => broker.stop())
  return { broker, pair }
}

async function tlsOptions(files?: PairFiles): Promise<IClientOptions> {
  return {
    ca: await readFile(authority.ca),
    ...(files && { cert: await readFile(files.certificate), key: await readFile(files.key) }),
  }
}

function open(t: TestContext, url: string, options: IClientOptions): MqttClient {
  const client = mqtt.connect(url, { reconnectPeriod: 0, ...options })
  t.after(() => client.end(true))
  return client
}

for (const [scheme, portOf] of [
  ['mqtts', (broker: Broker) => broker.tlsPort],
  ['wss', (broker: Broker) => broker.tlsWebSocketPort],
] as const) {
  test(`${scheme}: user name and secret over TLS`, async t => {
    const { broker } = await startTlsBroker(t, 'none')
    const url = `${scheme}://127.0.0.1:${portOf(broker)}`
    const client = open(t, url, { ...credentials(anna, secrets), ...(await tlsOptions()) })
    await connected(client)
    const received = collect(client)
    await client.subscribeAsync('faultline/v1/#', { qos: 1 })
    const device = open(t, url, { ...credentials(press, secrets), ...(await tlsOptions()) })
    await connected(device)
    await device.publishAsync(`faultline/v1/${press.name}/state`, 'on', { qos: 1 })
    await received.until(1)
    const wrong = { ...credentials(anna, secrets), ...(await tlsOptions()), password: 'wrong' }
    assert.equal(await refusalCode(connected(open(t, url, wrong))), 4)
  })

  test(`${scheme}: a certificate stands for user name and secret`, async t => {
    const { broker } = await startTlsBroker(t, 'required')
    const url = `${scheme}://127.0.0.1:${portOf(broker)}`
    const tls = await tlsOptions(await authority.client(press, registry))
    const device = open(t, url, { clientId: press.name, ...tls })
    await connected(device)
    // With the rights of its name, and no others.
    await device.publishAsync(`faultline/v1/${press.name}/state`, 'on', { qos: 1 })
    device.on('error', () => {})
    const closed = new Promise<void>(resolve => device.once('close', resolve))
    device.publish(`faultline/v1/${pump.name}/state`, 'forged', { qos: 1 }, () => {})
    await closed
    assert.equal(await refusalCode(connected(open(t, url, { clientId: pump.name, ...tls }))), 5)
    assert.equal(await refusalCode(connected(open(t, url, { ...credentials(pump, secrets), ...tls }))), 5)
    // Who sends a secret as well has to have the right one.
    const both = { ...credentials(press, secrets), ...tls }
    assert.equal(await refusalCode(connected(open(t, url, { ...both, password: 'wrong' }))), 4)
    await connected(open(t, url, both))
  })
}

test('a certificate that the registry does not list lets nobody in, whoever signed it', async t => {
  const { broker } = await startTlsBroker(t, 'optional')
  const url = `mqtts://127.0.0.1:${broker.tlsPort}`
  const unlisted = await tlsOptions(await authority.client(press))
  assert.equal(await refusalCode(connected(open(t, url, { clientId: press.name, ...unlisted }))), 4)
  // Nor with the right secret: a client that shows a certificate means it.
  assert.equal(await refusalCode(connected(open(t, url, { ...credentials(press, secrets), ...unlisted }))), 4)
  const stranger = await TestAuthority.create(await temporaryDirectory(t))
  const foreign = await tlsOptions(await stranger.client(press, registry))
  const ca = await readFile(authority.ca)
  assert.equal(await refusalCode(connected(open(t, url, { ...credentials(press, secrets), ...foreign, ca }))), 4)
  // One that the registry lists for another identity than it names.
  const files = await authority.client(press)
  registry.addCertificate(pump.name, readCertificate(await readFile(files.certificate, 'utf8')))
  const misplaced = await tlsOptions(files)
  for (const { name: clientId } of [press, pump])
    assert.equal(await refusalCode(connected(open(t, url, { clientId, ...misplaced }))), 4)
  const expired = await tlsOptions(await authority.client(press, registry, -1 / 1_440))
  assert.equal(await refusalCode(connected(open(t, url, { clientId: press.name, ...expired }))), 4)
  await connected(open(t, url, { ...credentials(press, secrets), ca }))
})

test('a certificate from before a revocation does not come back with the name', async t => {
  const { broker } = await startTlsBroker(t, 'required')
  const url = `mqtts://127.0.0.1:${broker.tlsPort}`
  const old = await tlsOptions(await authority.client(pump, registry))
  await connected(open(t, url, { clientId: pump.name, ...old }))
  registry.revoke(pump.name)
  assert.equal(await refusalCode(connected(open(t, url, { clientId: pump.name, ...old }))), 4)
  await registry.enroll(pump)
  assert.equal(await refusalCode(connected(open(t, url, { clientId: pump.name, ...old }))), 4)
  // Two at once while one takes the place of the other.
  for (const files of [await authority.client(pump, registry), await authority.client(pump, registry)]) {
    await connected(open(t, url, { clientId: pump.name, ...(await tlsOptions(files)) }))
  }
})

test('without a certificate nobody gets as far as MQTT where one is required', async t => {
  const { broker } = await startTlsBroker(t, 'required')
  const client = open(t, `mqtts://127.0.0.1:${broker.tlsPort}`, {
    ...credentials(press, secrets),
    ...(await tlsOptions()),
  })
  await assert.rejects(connected(client))
  assert.equal(broker.counts.refusedLogins, 0)
  assert.equal(broker.counts.limited.handshake, 1)
})

test('what is older than TLS 1.2, or no TLS at all, is turned away, and so is who says nothing', async t => {
  const { broker: patient } = await startTlsBroker(t, 'none')
  const old = connectTls({
    port: patient.tlsPort,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT@SECLEVEL=0',
  })
  await assert.rejects(once(old, 'secureConnect'))
  const modern: TLSSocket = connectTls({ port: patient.tlsPort, rejectUnauthorized: false, maxVersion: 'TLSv1.2' })
  await once(modern, 'secureConnect')
  assert.equal(modern.getProtocol(), 'TLSv1.2')
  modern.destroy()
  const { broker } = await startTlsBroker(t, 'none', { limits: { connectTimeoutMs: 200 } })
  const plain = await connectRaw(t, broker.tlsPort, { clientId: 'x' })
  await plain.closed()
  // Nothing, the first byte of a handshake, and one that is complete but for CONNECT.
  for (const port of [broker.tlsPort, broker.tlsWebSocketPort]) {
    const silent = await connectRaw(t, port)
    await silent.closed()
    const slow = await connectRaw(t, port)
    slow.socket.write(Buffer.from([0x16]))
    await slow.closed()
  }
  const mute = connectTls({ port: broker.tlsPort, rejectUnauthorized: false })
  mute.on('error', () => {}) // The time may be up before the handshake is over.
  if (!mute.closed) await once(mute, 'close')
})

test('a connection from before a renewal stays; the one after it sees the new certificate', async t => {
  const { broker, pair } = await startTlsBroker(t, 'none')
  const url = `mqtts://127.0.0.1:${broker.tlsPort}`
  const client = open(t, url, { ...credentials(anna, secrets), ...(await tlsOptions()) })
  await connected(client)
  const before = (client.stream as TLSSocket).getPeerCertificate().fingerprint256
  const next = await authority.server()
  await copyFile(next.key, pair.key)
  await copyFile(next.certificate, pair.certificate)
  const signal = AbortSignal.timeout(30_000)
  let shown = before
  while (shown === before) {
    signal.throwIfAborted()
    const socket = connectTls({ port: broker.tlsPort, ca: await readFile(authority.ca) })
    await once(socket, 'secureConnect')
    shown = socket.getPeerCertificate().fingerprint256
    socket.destroy()
  }
  assert.ok(client.connected)
  await client.subscribeAsync('faultline/v1/#')
})

test('an agent logs in with its files, and with those of then at the next connection', async t => {
  const { broker } = await startTlsBroker(t, 'required')
  const files = await authority.client(press, registry)
  const session = new MqttSession({
    url: `mqtts://127.0.0.1:${broker.tlsPort}`,
    identity: press,
    ca: authority.ca,
    ...files,
    subscriptions: [],
    logger: silentLogger,
    backOff: { initialMs: 50, maximumMs: 50 },
  })
  await session.start()
  t.after(() => session.stop())
  await session.whenOnline()
  const old = await tlsOptions(files)
  await writeFile(files.certificate, 'rubbish')
  const problem = once(session, 'problem')
  await connected(open(t, `mqtts://127.0.0.1:${broker.tlsPort}`, { clientId: press.name, ...old })) // It takes over.
  await problem
  const next = await authority.client(press, registry)
  await copyFile(next.key, files.key)
  await copyFile(next.certificate, files.certificate)
  await session.whenOnline()
})

test('MQTT without TLS stays on loopback unless it is allowed elsewhere', async t => {
  const pair = await authority.server()
  const start = async (options: Partial<BrokerOptions>) => {
    const broker = new Broker({ port: 0, registry, logger: silentLogger, ...options })
    await broker.start()
    t.after(() => broker.stop())
    return broker
  }
  const tls = { host: '127.0.0.1', port: 0, ...pair, clientCertificates: 'none' as const }
  for (const host of ['0.0.0.0', '::', '10.1.2.3', 'broker.local', '']) {
    await assert.rejects(start({ host }), { code: 'CONFIG_INVALID' }, host)
    await assert.rejects(start({ host, tls }), { code: 'CONFIG_INVALID' }, host)
  }
  await start({ host: '0.0.0.0', plain: 'anywhere' })
  await assert.rejects(start({ plain: 'none' }), { code: 'CONFIG_INVALID' })
  const secureOnly = await start({ plain: 'none', tls })
  assert.equal(secureOnly.port, 0)
  assert.ok(secureOnly.tlsPort > 0)
  await assert.rejects(start({ tls: { ...tls, clientCertificates: 'required' } }), { code: 'CONFIG_INVALID' })
  await assert.rejects(start({ tls: { ...tls, key: authority.ca } }), { code: 'CERTIFICATE_INVALID' })
  await assert.rejects(start({ tls: { ...tls, certificate: 'absent.pem' } }), { code: 'CERTIFICATE_INVALID' })
})
