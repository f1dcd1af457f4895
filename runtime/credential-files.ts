import { createHash } from 'node:crypto'
import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import { type CertificateFacts, createRequest, readCertificate, requestFor } from './certificates.ts'

export interface CredentialPaths {
  ca: string
  certificate: string
  key: string
}

/** A certificate as it lies on the disk. */
export interface StoredCertificate extends CertificateFacts {
  pem: string
  /** Digest of the token it was claimed with; it stays through renewals. */
  claim?: string
}

/** Not the token, which whoever may read a certificate need not know. */
export const tokenDigest = (token: string): string => createHash('sha256').update(token).digest('hex')

/**
 * A private key and its certificate on the disk, replaced as a pair. The key is made here, is readable by its owner
 * alone (mode 0600) and goes nowhere. A new pair lies beside the old one (`….new`) until both its files are there, so
 * that a machine that loses power at any moment has one or the other. Failures of the disk throw `OUTPUT_UNWRITABLE`.
 */
export class CredentialFiles {
  private readonly paths: CredentialPaths

  constructor(paths: CredentialPaths) {
    this.paths = paths
  }

  /** The certificate in use, once a pair that was left half way is in place; undefined while there is none that can be read. */
  async current(): Promise<StoredCertificate | undefined> {
    await this.install()
    const pem = await readOrNothing(this.paths.certificate)
    if (pem === undefined || (await readOrNothing(this.paths.key)) === undefined) return undefined
    try {
      const claim = /^# claim ([0-9a-f]{64})$/m.exec(pem)?.[1]
      return { ...readCertificate(pem), pem, ...(claim !== undefined && { claim }) }
    } catch {
      return undefined
    }
  }

  /** What a connection in its name takes. */
  async tls(): Promise<{ ca: string; cert: string; key: string }> {
    const [ca, cert, key] = await Promise.all(
      [this.paths.ca, this.paths.certificate, this.paths.key].map(path => readFile(path, 'utf8')),
    )
    return { ca: ca!, cert: cert!, key: key! }
  }

  /** A request for the next key: the one that was asked for before, should its answer have been lost. */
  async request(name: string): Promise<string> {
    const path = `${this.paths.key}.new`
    const pending = await readOrNothing(path)
    if (pending !== undefined) {
      const csr = await requestFor(name, pending).catch(() => undefined) // Cut short: make another.
      if (csr !== undefined) return csr
    }
    const { request, key } = await createRequest(name)
    await write(path, key, 0o600)
    return request
  }

  /** Puts the certificate of the requested key in the place of what there was. */
  async accept(certificate: string, more: { claim?: string | undefined; ca?: string } = {}): Promise<void> {
    const head = more.claim === undefined ? '' : `# claim ${more.claim}\n`
    if (more.ca !== undefined) await write(this.paths.ca, more.ca, 0o644)
    await write(`${this.paths.certificate}.new`, `${head}${certificate}`, 0o644)
    await this.install()
  }

  /** Puts these authorities in the place of those that were believed; false where they are the same. */
  async believe(ca: string): Promise<boolean> {
    if ((await readOrNothing(this.paths.ca)) === ca) return false
    await write(this.paths.ca, ca, 0o644)
    return true
  }

  private async install(): Promise<void> {
    const { certificate, key } = this.paths
    if ((await readOrNothing(`${certificate}.new`)) === undefined) return
    await renameIfThere(`${key}.new`, key)
    await renameIfThere(`${certificate}.new`, certificate)
  }
}

async function readOrNothing(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    return undefined
  }
}

/** Whole and on the disk, or not at all. */
async function write(path: string, text: string, mode: number): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true })
    const draft = `${path}.part`
    const file = await open(draft, 'w', mode)
    try {
      await file.chmod(mode) // Whatever the umask took away, or a file of before gave.
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, path)
    await chmod(path, mode)
  } catch (cause) {
    throw unwritable(path, cause)
  }
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw unwritable(to, cause)
  }
}

const unwritable = (path: string, cause: unknown): FaultlineError =>
  new FaultlineError('OUTPUT_UNWRITABLE', `cannot write ${path}: ${(cause as Error).message}`, { cause })
