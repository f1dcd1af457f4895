import { existsSync } from 'node:fs'
import { readFile, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import { type CertifiedKey, createAuthority, readCertificate } from '@faultline/runtime'
import { writeNewFile } from './own-file.ts'

/** Where a fleet's authority lies: beside its registry. */
export const authorityPaths = (registry: string): { certificate: string; key: string } => ({
  certificate: join(dirname(registry), 'ca.pem'),
  key: join(dirname(registry), 'ca.key'),
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

/** Throws `AUTHORITY_MISSING`. */
export async function loadAuthority(registry: string): Promise<CertifiedKey> {
  const paths = authorityPaths(registry)
  try {
    const [certificate, key] = await Promise.all([readFile(paths.certificate, 'utf8'), readFile(paths.key, 'utf8')])
    return { certificate, key }
  } catch (cause) {
    throw missing(cause as Error)
  }
}

/** The certificate alone, for what signs nothing. Throws `AUTHORITY_MISSING`. */
export async function loadAuthorityCertificate(registry: string): Promise<{ pem: string; fingerprint: string }> {
  try {
    const pem = await readFile(authorityPaths(registry).certificate, 'utf8')
    return { pem, fingerprint: readCertificate(pem).fingerprint }
  } catch (cause) {
    throw cause instanceof FaultlineError ? cause : missing(cause as Error)
  }
}

const alreadyThere = (path: string): FaultlineError =>
  new FaultlineError('AUTHORITY_EXISTS', `${path} is there already; nothing was changed`)

const missing = (cause: Error): FaultlineError =>
  new FaultlineError('AUTHORITY_MISSING', `no authority: ${cause.message}`, { cause })
