import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Broker } from '@faultline/broker'
import { type Identity, identityOf } from '@faultline/protocol'
import {
  CredentialFiles,
  createServerCertificate,
  Enrolment,
  EstClient,
  readCertificate,
  silentLogger,
} from '@faultline/runtime'
import mqtt from 'mqtt'
import { authorityPaths, loadAuthority } from '../../provisioning/authority.ts'
import { replaceFile } from '../../provisioning/own-file.ts'
import { beginRollover, finishRollover, rolloverStatus, switchRollover } from '../../provisioning/rollover.ts'
import { connected } from '../broker/harness.ts'
import { runCommand } from '../support/command.ts'
import { startEnrolment } from '../support/enrolment.ts'

const press = identityOf('device', 'plant-a', 'press-1')
const pump = identityOf('device', 'plant-a', 'pump-2')
const refused = (message: RegExp) => ({ code: 'ROLLOVER_REFUSED', message })

/** A fleet with its authority, its enrolment service and a broker that takes certificates alone. */
async function startFleet(t: TestContext) {
  const fleet = await startEnrolment(t, { lookMs: 20 })
  const { directory, path, registry } = fleet
  const pair = { certificate: join(directory, 'broker.pem'), key: join(directory, 'broker.key') }
  /** As `server-certificate --replace` does. */
  const certifyBroker = async () => {
    const { certificate, key } = await createServerCertificate(await loadAuthority(path), ['127.0.0.1'], 1)
    await replaceFile(pair.key, key, 0o600)
    await replaceFile(pair.certificate, certificate, 0o644)
    registry.record('server-certified', 'registry')
  }
  await certifyBroker()
  const ca = authorityPaths(path).certificate
  const startBroker = async () => {
    const tls = { host: '127.0.0.1', port: 0, ...pair, ca, clientCertificates: 'required' as const }
    const broker = new Broker({ port: 0, plain: 'none', tls, registry, logger: silentLogger })
    await broker.start()
    t.after(() => broker.stop())
    return broker
  }
  return { ...fleet, certifyBroker, startBroker }
}

type Fleet = Awaited<ReturnType<typeof startFleet>>

/** A device's side of enrolment: its files, and whether they let it in. */
class Member {
  readonly files: { ca: string; certificate: string; key: string }
  private readonly t: TestContext
  private readonly identity: Identity
  private readonly fleet: Fleet
  private enrolment: Enrolment | undefined

  constructor(t: TestContext, fleet: Fleet, identity: Identity) {
    const at = (name: string) => join(fleet.directory, identity.id, name)
    this.files = { ca: at('ca.pem'), certificate: at('agent.pem'), key: at('agent.key') }
    this.t = t
    this.identity = identity
    this.fleet = fleet
  }

  /** Claims its first certificate, and goes on. */
  async claim(): Promise<void> {
    const { registry, fingerprint } = this.fleet
    const { token } = registry.enrollToClaim(this.identity, 60_000)
    await this.wake({ token, fingerprint })
    if (!this.enrolment!.ready) await once(this.enrolment!, 'certified', { signal: AbortSignal.timeout(20_000) })
  }

  async wake(claim: { token?: string; fingerprint?: string } = {}): Promise<void> {
    const { files, identity } = this
    const access = { url: this.fleet.url, ...claim }
    this.enrolment = new Enrolment({ identity, access, files, logger: silentLogger, trustIntervalMs: 50 })
    this.t.after(() => this.enrolment?.stop())
    await this.enrolment.start()
  }

  async sleep(): Promise<void> {
    await this.enrolment?.stop()
    this.enrolment = undefined
  }

  /** Its next certificate, as after two thirds of the one it has. */
  async renew(): Promise<void> {
    const { files, fleet, identity } = this
    const own = new CredentialFiles(files)
    const { signal } = new AbortController()
    const client = new EstClient(fleet.url)
    await own.accept(await client.reenroll(await own.tls(), await own.request(identity.name), signal))
  }

  async believed(): Promise<string[]> {
    const pems = (await readFile(this.files.ca, 'utf8')).match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g) ?? []
    return pems.map(pem => readCertificate(pem).fingerprint)
  }

  /** Resolves once it believes these. */
  async believes(...fingerprints: string[]): Promise<void> {
    const signal = AbortSignal.timeout(20_000)
    while ((await this.believed()).join() !== fingerprints.join()) {
      signal.throwIfAborted()
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }

  /** Logs in at the broker, and leaves; throws where either side does not believe the other. */
  async logIn(broker: Broker): Promise<void> {
    const [ca, cert, key] = await Promise.all(
      [this.files.ca, this.files.certificate, this.files.key].map(path => readFile(path)),
    )
    const { name } = this.identity
    const url = `mqtts://127.0.0.1:${broker.tlsPort}`
    const client = mqtt.connect(url, { clientId: name, username: name, ca, cert, key, reconnectPeriod: 0 })
    try {
      await connected(client)
    } finally {
      client.end(true)
    }
  }
}

test('the next authority is believed before it signs, and the former no more once nobody needs it', async t => {
  const fleet = await startFleet(t)
  const { path, registry, startBroker, certifyBroker } = fleet
  const former = fleet.fingerprint
  const [awake, asleep] = [new Member(t, fleet, press), new Member(t, fleet, pump)]
  await awake.claim()
  await asleep.claim()
  await asleep.sleep()
  await assert.rejects(switchRollover(registry, path), refused(/none has begun/))

  await beginRollover(registry, path, 'Test fleet', 2)
  await assert.rejects(beginRollover(registry, path, 'Test fleet', 2), refused(/it has begun/))
  const [, { fingerprint: next } = { fingerprint: '' }] = (await rolloverStatus(registry, path)).authorities
  await awake.believes(former, next)
  assert.equal(registry.show(press.name).believes, next)
  // One device has not been told: nothing may rest on the next authority yet.
  await assert.rejects(switchRollover(registry, path), refused(/pump-2 have not been told/))
  assert.deepEqual((await rolloverStatus(registry, path)).waitingFor, [pump.name])
  assert.equal((await loadAuthority(path)).fingerprint, former)

  await switchRollover(registry, path, true)
  await assert.rejects(finishRollover(registry, path), refused(/no broker got a certificate/))
  await certifyBroker()
  const during = await startBroker()
  await awake.logIn(during) // The new authority's broker lets the former one's certificate in.
  await awake.renew()
  assert.equal(registry.show(press.name).certifiedBy, next)
  await awake.logIn(during)
  await assert.rejects(asleep.logIn(during), /self-signed|unable to (get|verify)|issuer|signature/)
  // It has slept through both steps, but believes the service still, and learns the rest from it.
  await assert.rejects(finishRollover(registry, path), refused(/pump-2 have no certificate of the new authority/))
  await asleep.wake()
  await asleep.believes(former, next)
  await asleep.renew()
  await asleep.logIn(during)

  await finishRollover(registry, path)
  const { phase, authorities, waitingFor } = await rolloverStatus(registry, path)
  assert.deepEqual([phase, authorities.map(({ fingerprint }) => fingerprint), waitingFor], ['settled', [next], []])
  await assert.rejects(stat(authorityPaths(path).formerKey), { code: 'ENOENT' })
  const after = await startBroker()
  for (const member of [awake, asleep]) {
    await member.believes(next)
    await member.logIn(after)
  }
  assert.deepEqual(
    registry.history('registry').flatMap(({ action }) => (action.startsWith('rollover') ? [action] : [])),
    ['rollover-begun', 'rollover-switched', 'rollover-finished'],
  )
})

test('a device that claims during a rollover knows the service by the authority that vouches for it', async t => {
  const fleet = await startFleet(t)
  const { path, registry, startBroker, certifyBroker } = fleet
  await beginRollover(registry, path, 'Test fleet', 2)
  await switchRollover(registry, path)
  await certifyBroker()
  const device = new Member(t, fleet, press)
  await device.claim()
  await device.believes(...(await loadAuthority(path)).trust.map(pem => readCertificate(pem).fingerprint))
  await device.logIn(await startBroker())
})

test('the command says how far a rollover is, and show what a device believes', async t => {
  const { path, registry, fingerprint } = await startEnrolment(t)
  const provision = async (...args: string[]) => {
    const { code, stdout, stderr } = await runCommand('provisioning/main.ts', [...args, '--registry', path])
    return { code, output: stdout + stderr }
  }
  const settled = await provision('authority')
  assert.match(settled.output, new RegExp(`^authority {2}${fingerprint}, until .*\nno rollover is under way\n$`))
  await registry.enroll(press)
  registry.addCertificate(press.name, { fingerprint: 'aa', notAfter: new Date(Date.now() + 60_000) })
  const begun = await provision('authority', 'begin')
  assert.match(begun.output, /\nnext {7}[0-9a-f]{64}, until /)
  assert.match(
    begun.output,
    /\n0 of 1 identities with certificates know the next authority\nwaiting {4}devices\/plant-a\/press-1\n/,
  )
  const early = await provision('authority', 'switch')
  assert.equal(early.code, 1)
  assert.match(early.output, /^error ROLLOVER_REFUSED: devices\/plant-a\/press-1 have not been told/)
  const next = (await loadAuthority(path)).trust.map(pem => readCertificate(pem).fingerprint)[1]!
  registry.told(press.name, next)
  registry.addCertificate(press.name, { fingerprint: 'bb', notAfter: new Date(Date.now() + 60_000), authority: next })
  assert.match(
    (await provision('authority', 'switch')).output,
    /\n1 of 1 identities with certificates have a certificate of the new authority\nnext step {2}finish\n/,
  )
  const shown = await provision('show', press.name)
  assert.match(shown.output, new RegExp(`certificate {2}bb, until .*, of authority ${next.slice(0, 16)}…\n`))
  assert.match(shown.output, new RegExp(`believes {5}authority ${next.slice(0, 16)}…, the newest it was told of\n`))
})
