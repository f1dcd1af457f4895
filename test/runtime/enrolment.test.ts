import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { identityOf } from '@faultline/protocol'
import { CredentialFiles, Enrolment, EstClient, readCertificate, silentLogger, tokenDigest } from '@faultline/runtime'
import { beginRollover, rolloverStatus } from '../../provisioning/rollover.ts'
import { daysForRenewalAfter, startEnrolment } from '../support/enrolment.ts'
import { temporaryDirectory } from '../support/temp.ts'

const press = identityOf('device', 'plant-a', 'press-1')

async function ownFiles(t: TestContext) {
  const directory = await temporaryDirectory(t)
  return { ca: join(directory, 'ca.pem'), certificate: join(directory, 'a.pem'), key: join(directory, 'a.key') }
}

test('what is not there is claimed, however often it takes; a new token is claimed with beside a good certificate', async t => {
  const { registry, url, fingerprint } = await startEnrolment(t, { failuresPerMinute: 1_000 })
  const files = await ownFiles(t)
  const enrolment = (token: string) =>
    new Enrolment({
      identity: press,
      access: { url, token, fingerprint },
      files,
      logger: silentLogger,
      firstPauseMs: 10,
    })
  const certified = async (one: Enrolment) => {
    if (!one.ready) await once(one, 'certified')
  }
  const early = enrolment('wrong')
  t.after(() => early.stop())
  await early.start()
  const [problem] = await once(early, 'problem')
  assert.equal(problem.code, 'CLAIM_REFUSED')
  assert.equal(early.ready, false)
  await early.stop()

  const first = enrolment(registry.enrollToClaim(press, 60_000).token)
  await first.start()
  await certified(first)
  await first.stop()
  assert.equal((await stat(files.key)).mode & 0o777, 0o600)
  assert.deepEqual((await readdir(join(files.key, '..'))).sort(), ['a.key', 'a.pem', 'ca.pem'])
  const before = readCertificate(await readFile(files.certificate, 'utf8'))

  const granted = await registry.rotate(press.name, { grant: { kind: 'claim', validMs: 60_000 }, overlapMs: 60_000 })
  assert.ok(granted.kind === 'claim')
  const second = enrolment(granted.token)
  await second.start()
  assert.ok(second.ready)
  await once(second, 'certified')
  await second.stop()
  assert.notEqual(readCertificate(await readFile(files.certificate, 'utf8')).keyDigest, before.keyDigest)
})

test('a certificate is renewed after two thirds of its time, with another key, and again', async t => {
  const { registry, url, fingerprint, service } = await startEnrolment(t, { certificateDays: daysForRenewalAfter(300) })
  const { token } = registry.enrollToClaim(press, 60_000)
  const files = await ownFiles(t)
  const enrolment = new Enrolment({ identity: press, access: { url, token, fingerprint }, files, logger: silentLogger })
  t.after(() => enrolment.stop())
  const keys = new Set<string>()
  await enrolment.start()
  while (keys.size < 3) {
    await once(enrolment, 'certified')
    keys.add(readCertificate(await readFile(files.certificate, 'utf8')).keyDigest)
  }
  await enrolment.stop()
  assert.equal(service.outcomes.claimed, 1)
  assert.equal(service.outcomes.refused, 0)
})

test('with its first certificate a device has every authority of the fleet: a broker may show one of the next', async t => {
  const { registry, url, fingerprint, path } = await startEnrolment(t)
  await beginRollover(registry, path, 'Test fleet', 2)
  const { token } = registry.enrollToClaim(press, 60_000)
  const files = await ownFiles(t)
  const enrolment = new Enrolment({ identity: press, access: { url, token, fingerprint }, files, logger: silentLogger })
  t.after(() => enrolment.stop())
  // Read while the event is announced: a session connects with what is there at that moment.
  const trusted = new Promise<string>(resolve => {
    enrolment.once('certified', () => resolve(readFileSync(files.ca, 'utf8')))
  })
  await enrolment.start()
  const pems = (await trusted).match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g) ?? []
  const { authorities } = await rolloverStatus(registry, path)
  assert.equal(authorities.length, 2)
  assert.deepEqual(
    pems.map(pem => readCertificate(pem).fingerprint),
    authorities.map(authority => authority.fingerprint),
  )
})

test('whenever the power goes, there is a certificate with its key', async t => {
  const { registry, url, authority } = await startEnrolment(t)
  const { token } = registry.enrollToClaim(press, 60_000)
  const paths = await ownFiles(t)
  const files = new CredentialFiles(paths)
  const client = new EstClient(url)
  const ca = authority.certificate
  const { signal } = new AbortController()
  const claim = async () =>
    client.enroll({ name: press.name, token, ca, csr: await new CredentialFiles(paths).request(press.name) }, signal)
  // The answer was lost: the same key asks again and gets the same.
  const certificate = await claim()
  assert.equal(await claim(), certificate)
  await files.accept(certificate, { claim: tokenDigest(token), ca })
  const fits = async () => {
    const current = await new CredentialFiles(paths).current()
    assert.ok(current)
    const { keyDigest } = readCertificate(
      await client.reenroll(await files.tls(), await files.request(press.name), signal),
    )
    assert.ok(keyDigest)
    return current
  }
  assert.equal((await fits()).claim, tokenDigest(token))
  // Cut off after the new certificate was written, before and after its key was moved.
  for (const moved of [false, true]) {
    const next = await client.reenroll(await files.tls(), await files.request(press.name), signal)
    await writeFile(`${paths.certificate}.new`, next)
    if (moved) await rename(`${paths.key}.new`, paths.key)
    const { fingerprint } = await fits()
    assert.equal(fingerprint, readCertificate(next).fingerprint)
  }
})
