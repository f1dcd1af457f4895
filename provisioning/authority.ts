import { createPrivateKey, X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import { type CertifiedKey, createAuthority, readCertificate } from '@faultline/runtime'
import { writeNewFile } from './own-file.ts'

/**
 * A fleet's authority: what signs the certificates of clients and brokers. While one takes the place of another there are two to be
 * believed (see `rollover.ts`).
 */
export interface Authority extends CertifiedKey {
  /** SHA-256 of its certificate. */
  fingerprint: string
  /** The certificates to be believed, the oldest first; one but for a rollover. */
  trust: readonly string[]
  /** Vouches for the provisioning service: the oldest, so that who has missed a rollover so far still believes the service. */
  anchor: CertifiedKey
}

/**
 * Where a fleet's authority lies: beside its registry. The certificates to be believed in one file; the key that signs; and,
 * during a rollover, the one that will and the one that did.
 */
export const authorityPaths = (registry: string) => ({
  certificate: join(dirname(registry), 'ca.pem'),
  key: join(dirname(registry), 'ca.key'),
  nextKey: join(dirname(registry), 'ca.next.key'),
  formerKey: join(dirname(registry), 'ca.former.key'),
})

/** Makes the authority of a fleet; its key is for its owner alone. Throws `AUTHORITY_EXISTS`, `CONFIG_UNREADABLE`. */
export async function initAuthority(registry: string, name: string, days: number): Promise<{ fingerprint: string }> {
  const paths = authorityPaths(registry)
  const there = [paths.key, paths.certificate].find(path => existsSync(path))
  if (there !== undefined) throw alreadyThere(there)
  const { certificate, key } = await createAuthority(name, days)
  // The key first: a certificate without one would only be in the way.
  await writeNewFile(paths.key, async () => key)
  try {
    await writeNewFile(paths.certificate, async () => certificate, 0o644)
  } catch (thrown) {
    await unlink(paths.key)
    throw thrown
  }
  return readCertificate(certificate)
}

/** Throws `AUTHORITY_MISSING`, `CERTIFICATE_INVALID`. */
export async function loadAuthority(registry: string): Promise<Authority> {
  const paths = authorityPaths(registry)
  const trust = await loadTrust(registry)
  const key = await readFile(paths.key, 'utf8').catch(cause => {
    throw missing(cause)
  })
  const certificate = certificateOf(trust, key)
  if (certificate === undefined) throw mismatch(paths.key, paths.certificate)
  const { fingerprint } = readCertificate(certificate)
  const signing = { certificate, key, fingerprint, trust }
  if (certificate === trust[0]) return { ...signing, anchor: signing }
  const formerKey = await readFile(paths.formerKey, 'utf8').catch(cause => {
    throw missing(cause)
  })
  if (certificateOf(trust, formerKey) !== trust[0]) throw mismatch(paths.formerKey, paths.certificate)
  return { ...signing, anchor: { certificate: trust[0]!, key: formerKey } }
}

/**
 * The certificates alone, for what signs nothing, and the fingerprint of the one that vouches for the provisioning service.
 * Throws `AUTHORITY_MISSING`.
 */
export async function loadAuthorityCertificate(registry: string): Promise<{ pem: string; fingerprint: string }> {
  const trust = await loadTrust(registry)
  return { pem: trust.join(''), fingerprint: readCertificate(trust[0]!).fingerprint }
}

/** The certificates to be believed, PEM, the oldest first. */
async function loadTrust(registry: string): Promise<string[]> {
  const path = authorityPaths(registry).certificate
  const text = await readFile(path, 'utf8').catch(cause => {
    throw missing(cause)
  })
  const pems = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  if (pems.length === 0) throw new FaultlineError('CERTIFICATE_INVALID', `${path} holds no certificate`)
  for (const pem of pems) readCertificate(pem)
  return pems.map(pem => `${pem}\n`)
}

/** Which of the certificates a key is of. */
function certificateOf(pems: readonly string[], key: string): string | undefined {
  try {
    const privateKey = createPrivateKey(key)
    return pems.find(pem => new X509Certificate(pem).checkPrivateKey(privateKey))
  } catch {
    return undefined
  }
}

const alreadyThere = (path: string): FaultlineError =>
  new FaultlineError('AUTHORITY_EXISTS', `${path} is there already; nothing was changed`)

const missing = (cause: Error): FaultlineError =>
  new FaultlineError('AUTHORITY_MISSING', `no authority: ${cause.message}`, { cause })

const mismatch = (key: string, certificate: string): FaultlineError =>
  new FaultlineError('CERTIFICATE_INVALID', `${key} is the key of no certificate in ${certificate}`)
