import { existsSync } from 'node:fs'
import { mkdir, open, readFile, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { type CertifiedKey, createAuthority, readCertificate } from '@faultline/runtime'

/** Where a fleet's authority lies: beside its registry. */
export const authorityPaths = (registry: string): { certificate: string; key: string } => ({
  certificate: join(dirname(registry), 'ca.pem'),
  key: join(dirname(registry), 'ca.key'),
})

/** Makes the authority of a fleet; its key is for its owner alone. Throws `AUTHORITY_EXISTS`, `OUTPUT_UNWRITABLE`. */
export async function initAuthority(registry: string, name: string, days: number): Promise<{ fingerprint: string }> {
  const paths = authorityPaths(registry)
  const there = [paths.key, paths.certificate].find(path => existsSync(path))
  if (there !== undefined) throw alreadyThere(there)
  const { certificate, key } = await createAuthority(name, days)
  // The key first: a certificate without one would only be in the way.
  await writeOwnFile(paths.key, key, 0o600)
  try {
    await writeOwnFile(paths.certificate, certificate, 0o644)
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

/** Writes a file that must not be there yet. */
export async function writeOwnFile(path: string, text: string | Buffer, mode: number): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true })
    const file = await open(path, 'wx', mode)
    try {
      await file.chmod(mode) // Whatever the umask took away.
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new FaultlineError('CONFIG_EXISTS', `${path} is there already; nothing was written`, { cause })
    }
    throw toFaultlineError(cause, 'OUTPUT_UNWRITABLE')
  }
}

const alreadyThere = (path: string): FaultlineError =>
  new FaultlineError('AUTHORITY_EXISTS', `${path} is there already; nothing was changed`)

const missing = (cause: Error): FaultlineError =>
  new FaultlineError('AUTHORITY_MISSING', `no authority: ${cause.message}`, { cause })
