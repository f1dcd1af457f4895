import {
  createHash,
  createPrivateKey,
  createPublicKey,
  KeyObject,
  randomBytes,
  webcrypto,
  X509Certificate,
} from 'node:crypto'
import { isIP } from 'node:net'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { Extension, Name, Pkcs10CertificateRequest } from '@peculiar/x509'

/** Loaded when it is needed: few processes ever make a certificate. It asks for the polyfill before it. */
export async function loadX509() {
  await import('reflect-metadata')
  return import('@peculiar/x509')
}

type X509 = Awaited<ReturnType<typeof loadX509>>

/** A certificate and its private key, both PEM. */
export interface CertifiedKey {
  certificate: string
  key: string
}

export interface CertificateFacts {
  /** The common name: for a client of the broker its identity. */
  name: string
  /** SHA-256 over the DER form, 64 lower-case hexadecimal digits. */
  fingerprint: string
  /** SHA-256 over the public key (SubjectPublicKeyInfo, DER), as the fingerprint is written. */
  keyDigest: string
  notBefore: Date
  notAfter: Date
}

/** P-256 with SHA-256 (FIPS 186-5): small packets in a handshake, quick on a Pi, and what every TLS stack has. */
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const dayMs = 86_400_000
/** A device whose clock is a little behind shall not take a fresh certificate for one of the future. */
const backdatedMs = 5 * 60_000

/** A fleet's own certificate authority: a key and a self-signed certificate (RFC 5280) that may sign end entities only. */
export async function createAuthority(name: string, days: number): Promise<CertifiedKey> {
  const x509 = await loadX509()
  const keys = await newKeys()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: commonName(x509, name),
    ...validity(days),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificate: certificate.toString('pem'), key: exportKey(keys.privateKey) }
}

/** A new key, and the request (PKCS #10, RFC 2986) to certify it under a name. The key need not leave the caller. */
export async function createRequest(name: string): Promise<{ request: string; key: string }> {
  const key = exportKey((await newKeys()).privateKey)
  return { request: await requestFor(name, key), key }
}

/** The request for a key there is already, PEM. Throws `CERTIFICATE_INVALID` for a key of another kind. */
export async function requestFor(name: string, key: string): Promise<string> {
  const x509 = await loadX509()
  const keys = await importKeys(key)
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: commonName(x509, name),
    keys,
    signingAlgorithm: algorithm,
  })
  return request.toString('pem')
}

/** Which key a request is for, as `CertificateFacts.keyDigest` has it. Throws `CERTIFICATE_INVALID`. */
export async function keyDigestOf(request: string): Promise<string> {
  const x509 = await loadX509()
  return digestOf(new Uint8Array(parseRequest(x509, request).publicKey.rawData))
}

/**
 * Certifies the key of a request as that of a client of the broker. The request proves that its sender has the key, and
 * nothing else: name and validity are the caller's, who knows who asks. Throws `CERTIFICATE_INVALID`.
 */
export async function signRequest(
  authority: CertifiedKey,
  request: string,
  { name, days }: { name: string; days: number },
): Promise<string> {
  const x509 = await loadX509()
  const parsed = parseRequest(x509, request)
  if (!(await parsed.verify().catch(() => false))) throw invalid('the request is not signed with the key it is for')
  return sign(authority, await parsed.publicKey.export(), name, days, [
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
  ])
}

/** A key and a certificate for a broker that clients reach under these host names and addresses. */
export async function createServerCertificate(
  authority: CertifiedKey,
  hosts: readonly string[],
  days: number,
): Promise<CertifiedKey> {
  const x509 = await loadX509()
  const keys = await newKeys()
  const names = hosts.map(host => ({ type: isIP(host) ? ('ip' as const) : ('dns' as const), value: host }))
  const certificate = await sign(authority, keys.publicKey, hosts[0] ?? 'broker', days, [
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
    new x509.SubjectAlternativeNameExtension(names),
  ])
  return { certificate, key: exportKey(keys.privateKey) }
}

/** What a certificate says. Throws `CERTIFICATE_INVALID`. */
export function readCertificate(pem: string): CertificateFacts {
  try {
    const certificate = new X509Certificate(pem)
    const { fingerprint256, validFromDate, validToDate } = certificate
    const name: unknown = certificate.toLegacyObject().subject.CN
    if (typeof name !== 'string') throw new Error('it has no common name, or several')
    return {
      name,
      fingerprint: hexOf(fingerprint256),
      keyDigest: digestOf(certificate.publicKey.export({ type: 'spki', format: 'der' })),
      notBefore: validFromDate,
      notAfter: validToDate,
    }
  } catch (cause) {
    throw toFaultlineError(cause, 'CERTIFICATE_INVALID', 'certificate')
  }
}

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** OpenSSL's way to write a digest, made ours. */
const hexOf = (fingerprint: string): string => fingerprint.replaceAll(':', '').toLowerCase()

async function sign(
  authority: CertifiedKey,
  publicKey: webcrypto.CryptoKey,
  name: string,
  days: number,
  extensions: Extension[],
): Promise<string> {
  const x509 = await loadX509()
  const { certificate, key } = await readAuthority(x509, authority)
  const { notBefore, notAfter } = validity(days)
  const signed = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: commonName(x509, name),
    issuer: certificate.subjectName,
    notBefore,
    // What outlives its authority is refused from then on; it should say so itself.
    notAfter: certificate.notAfter < notAfter ? certificate.notAfter : notAfter,
    publicKey,
    signingKey: key,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      ...extensions,
      await x509.AuthorityKeyIdentifierExtension.create(certificate.publicKey),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ],
  })
  return signed.toString('pem')
}

async function readAuthority(x509: X509, { certificate, key }: CertifiedKey) {
  try {
    const der = createPrivateKey(key).export({ type: 'pkcs8', format: 'der' })
    return {
      certificate: new x509.X509Certificate(certificate),
      key: await webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']),
    }
  } catch (cause) {
    throw toFaultlineError(cause, 'CERTIFICATE_INVALID', 'authority')
  }
}

function parseRequest(x509: X509, pem: string): Pkcs10CertificateRequest {
  try {
    return new x509.Pkcs10CertificateRequest(pem)
  } catch (cause) {
    throw toFaultlineError(cause, 'CERTIFICATE_INVALID', 'request')
  }
}

const newKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>

async function importKeys(key: string): Promise<webcrypto.CryptoKeyPair> {
  try {
    const spki = createPublicKey(key).export({ type: 'spki', format: 'der' })
    const pkcs8 = createPrivateKey(key).export({ type: 'pkcs8', format: 'der' })
    return {
      publicKey: await webcrypto.subtle.importKey('spki', spki, algorithm, true, ['verify']),
      privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']),
    }
  } catch (cause) {
    throw toFaultlineError(cause, 'CERTIFICATE_INVALID', 'key')
  }
}

const exportKey = (key: webcrypto.CryptoKey): string =>
  KeyObject.from(key).export({ type: 'pkcs8', format: 'pem' }) as string

/** From parts: a name of the fleet's has slashes, which a text would have to escape. */
const commonName = (x509: X509, name: string): Name => new x509.Name([{ CN: [name] }])

/** RFC 5280, 4.1.2.2: positive, at most 20 octets; random, so that authorities need not count. */
function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x7f) | 0x40
  return bytes.toString('hex')
}

function validity(days: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now()
  return { notBefore: new Date(now - backdatedMs), notAfter: new Date(now + days * dayMs) }
}

const invalid = (message: string): FaultlineError => new FaultlineError('CERTIFICATE_INVALID', message)
