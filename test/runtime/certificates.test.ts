import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import {
  createAuthority,
  createRequest,
  createServerCertificate,
  readCertificate,
  signRequest,
} from '@faultline/runtime'

// The longest a name can be, and beyond the 64 characters that X.520 once asked for.
const name = `devices/${'s'.repeat(63)}/${'d'.repeat(63)}`
const authority = await createAuthority('Fleet of plant-a', 30)

test('a request becomes a certificate of the key that made it, under the name the authority gives', async () => {
  const { request, key } = await createRequest('devices/plant-a/somebody-else')
  const pem = await signRequest(authority, request, { name, days: 10 })
  const certificate = new X509Certificate(pem)
  const issuer = new X509Certificate(authority.certificate)
  assert.ok(certificate.checkPrivateKey(createPrivateKey(key)))
  assert.ok(certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey))
  assert.equal(certificate.ca, false)
  assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2']) // clientAuth
  const facts = readCertificate(pem)
  assert.equal(facts.name, name)
  assert.equal(facts.fingerprint, certificate.fingerprint256.replaceAll(':', '').toLowerCase())
  const days = (facts.notAfter.getTime() - Date.now()) / 86_400_000
  assert.ok(days > 9.9 && days <= 10, `${days} days`)
  assert.ok(facts.notBefore.getTime() < Date.now())
})

test('a certificate does not outlive its authority', async () => {
  const { request } = await createRequest(name)
  const { notAfter } = readCertificate(await signRequest(authority, request, { name, days: 3_650 }))
  assert.deepEqual(notAfter, readCertificate(authority.certificate).notAfter)
})

test('a certificate of a broker names its hosts and addresses', async () => {
  const { certificate } = await createServerCertificate(authority, ['broker.local', '10.0.0.7', '::1'], 10)
  const read = new X509Certificate(certificate)
  assert.ok(read.checkHost('broker.local') && read.checkIP('10.0.0.7') && read.checkIP('::1'))
  assert.equal(read.checkHost('other.local'), undefined)
  assert.deepEqual(read.keyUsage, ['1.3.6.1.5.5.7.3.1']) // serverAuth
})

test('an authority signs with its own key', async () => {
  const other = await createAuthority('Fleet of plant-a', 30)
  const { request } = await createRequest(name)
  const certificate = new X509Certificate(await signRequest(other, request, { name, days: 1 }))
  assert.equal(certificate.verify(new X509Certificate(authority.certificate).publicKey), false)
})

test('what is no request, or one for the key of somebody else, is refused', async () => {
  const issue = (request: string) => signRequest(authority, request, { name, days: 1 })
  for (const request of ['', 'rubbish', authority.certificate, authority.key]) {
    await assert.rejects(issue(request), { code: 'CERTIFICATE_INVALID' })
  }
  const { request } = await createRequest(name)
  const bytes = Buffer.from(request.replace(/-----[^-]+-----/g, ''), 'base64')
  bytes[bytes.length - 1]! ^= 1 // In the signature.
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`
  await assert.rejects(issue(forged), { code: 'CERTIFICATE_INVALID' })
})

test('what is no certificate cannot be read', () => {
  for (const pem of ['', 'rubbish', authority.key]) {
    assert.throws(() => readCertificate(pem), { code: 'CERTIFICATE_INVALID' })
  }
})
