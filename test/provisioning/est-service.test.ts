import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { identityOf } from '@faultline/protocol'
import {
  type CertifiedKey,
  createAuthority,
  createRequest,
  EstClient,
  readCertificate,
  signRequest,
} from '@faultline/runtime'
import { startEnrolment } from '../support/enrolment.ts'

const press = identityOf('device', 'plant-a', 'press-1')
const pump = identityOf('device', 'plant-a', 'pump-2')
const { signal } = new AbortController()

test('a token becomes a certificate of the name it was made for, and that one the next', async t => {
  const { registry, url, fingerprint, authority } = await startEnrolment(t)
  const { token } = registry.enrollToClaim(press, 60_000)
  const client = new EstClient(url)
  const ca = await client.authority(fingerprint, signal)
  assert.equal(readCertificate(ca).fingerprint, readCertificate(authority.certificate).fingerprint)
  // Whatever name is asked for.
  const { request: csr, key } = await createRequest(pump.name)
  const cert = await client.enroll({ name: press.name, token, ca, csr }, signal)
  const facts = readCertificate(cert)
  assert.equal(facts.name, press.name)
  assert.deepEqual(registry.certificate(facts.fingerprint)?.identity, press)

  const next = await createRequest(pump.name)
  const renewed = readCertificate(await client.reenroll({ ca, cert, key }, next.request, signal))
  assert.equal(renewed.name, press.name)
  assert.notEqual(renewed.keyDigest, facts.keyDigest)
  for (const one of [facts, renewed]) assert.ok(registry.certificate(one.fingerprint))
  const log = registry.history(press.name)
  assert.deepEqual(
    log.map(({ action }) => action),
    ['enrolled', 'claimed', 'renewed'],
  )
  assert.match(log[2]!.actor, /^devices\/plant-a\/press-1 at 127\.0\.0\.1$/)
})

test('a certificate that is revoked, being rotated, of somebody else or renewed too often is not renewed', async t => {
  const { registry, url, authority } = await startEnrolment(t)
  const client = new EstClient(url)
  const ca = authority.certificate
  const certified = async (identity: typeof press, by: CertifiedKey = authority, listed = true) => {
    const { request, key } = await createRequest(identity.name)
    const cert = await signRequest(by, request, { name: identity.name, days: 1 })
    if (listed) registry.addCertificate(identity.name, readCertificate(cert))
    return { ca, cert, key }
  }
  const { request } = await createRequest('x')
  const refused = async (tls: { ca: string; cert: string; key: string }, why: RegExp) =>
    assert.rejects(client.reenroll(tls, request, signal), { code: 'ENROLMENT_REFUSED', message: why })
  await registry.enroll(press)
  await registry.enroll(pump)
  await refused(await certified(press, authority, false), /unknown/)
  await refused(await certified(press, await createAuthority('Other', 1)), /not valid/)
  const good = await certified(press)
  for (let i = 0; i < 9; i++) await client.reenroll(good, request, signal)
  await refused(good, /too often/)
  const pumps = await certified(pump)
  await registry.rotate(pump.name, { grant: { kind: 'claim', validMs: 60_000 }, overlapMs: 60_000 })
  await refused(pumps, /rotated/)
  registry.revoke(pump.name)
  await refused(pumps, /revoked/)
  assert.deepEqual(registry.history(press.name).filter(({ action }) => action === 'renewed').length, 9)
})

test('an authority other than the one that was named is not spoken to', async t => {
  const { url } = await startEnrolment(t)
  const client = new EstClient(url)
  await assert.rejects(client.authority('00'.repeat(32), signal), {
    code: 'ENROLMENT_UNREACHABLE',
    message: /another fleet/,
  })
  const other = await createAuthority('Other', 1)
  const enroll = { name: press.name, token: 'x', ca: other.certificate, csr: (await createRequest('x')).request }
  await assert.rejects(client.enroll(enroll, signal), { code: 'ENROLMENT_UNREACHABLE' })
})

test('an address that fails too often has to wait, and then nothing is looked at', async t => {
  const { registry, url, authority, service } = await startEnrolment(t, { failuresPerMinute: 3 })
  const { token } = registry.enrollToClaim(press, 60_000)
  const client = new EstClient(url)
  const { request: csr } = await createRequest('x')
  const enroll = (guess: string) =>
    client.enroll({ name: press.name, token: guess, ca: authority.certificate, csr }, signal)
  for (const guess of ['', 'x', token.slice(1)]) await assert.rejects(enroll(guess), { code: 'CLAIM_REFUSED' })
  await assert.rejects(enroll(token), { code: 'ENROLMENT_UNREACHABLE', message: /429/ })
  assert.deepEqual(service.outcomes, { claimed: 0, renewed: 0, refused: 3, throttled: 1, failed: 0 })
  assert.ok(registry.show(press.name).claimUntil)
})

test('requests that are none do no harm', async t => {
  const { registry, url, authority, service } = await startEnrolment(t, { failuresPerMinute: 100 })
  const { token } = registry.enrollToClaim(press, 60_000)
  const client = new EstClient(url)
  const invalid = { code: 'CERTIFICATE_INVALID' }
  const ca = authority.certificate
  for (const csr of ['', 'rubbish', 'x'.repeat(20_000), ca]) {
    await assert.rejects(client.enroll({ name: press.name, token, ca, csr }, signal), invalid)
  }
  const say = async (text: string): Promise<string> => {
    const socket = connect({ port: service.port, ca, host: '127.0.0.1' })
    let answer = ''
    socket.setEncoding('utf8').on('data', chunk => {
      answer += chunk
    })
    socket.end(text)
    await once(socket, 'close')
    return answer.split('\r\n')[0]!
  }
  const head = 'host: x\r\nconnection: close'
  assert.match(await say(`GET / HTTP/1.1\r\n${head}\r\n\r\n`), / 404 /)
  assert.match(await say(`GET /.well-known/est/simpleenroll HTTP/1.1\r\n${head}\r\n\r\n`), / 404 /)
  const enroll = 'POST /.well-known/est/simpleenroll HTTP/1.1'
  for (const [authorization, body] of [
    ['Basic', ''],
    ['Basic !', 'x'],
    ['Bearer x', ''],
    ['Basic OjpfX3Byb3RvX186', ''],
  ]) {
    const header = `${head}\r\nauthorization: ${authorization}\r\ncontent-length: ${body!.length}`
    assert.match(await say(`${enroll}\r\n${header}\r\n\r\n${body}`), / 401 /)
  }
  assert.match(await say('nonsense\r\n\r\n'), / 400 /)
  const { request: csr } = await createRequest('x')
  assert.ok(await client.enroll({ name: press.name, token, ca, csr }, signal))
})
