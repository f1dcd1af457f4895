import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Identity } from '@faultline/protocol'
import type { Registry } from '@faultline/provisioning'
import {
  type CertifiedKey,
  createAuthority,
  createRequest,
  createServerCertificate,
  readCertificate,
  signRequest,
} from '@faultline/runtime'

export interface PairFiles {
  certificate: string
  key: string
}

/** A fleet's own authority, with its certificates as files below a directory. */
export class TestAuthority {
  readonly ca: string
  private readonly directory: string
  private readonly authority: CertifiedKey
  private files = 0

  private constructor(directory: string, authority: CertifiedKey) {
    this.directory = directory
    this.authority = authority
    this.ca = join(directory, 'ca.pem')
  }

  static async create(directory: string): Promise<TestAuthority> {
    const created = new TestAuthority(directory, await createAuthority('Test fleet', 1))
    await writeFile(created.ca, created.authority.certificate)
    return created
  }

  /** A broker's, for loopback. */
  async server(days = 1): Promise<PairFiles> {
    return this.write(await createServerCertificate(this.authority, ['localhost', '127.0.0.1'], days))
  }

  /** A client's; listed in the registry where one is given. */
  async client(identity: Identity, registry?: Registry, days = 1): Promise<PairFiles> {
    const { request, key } = await createRequest(identity.name)
    const certificate = await signRequest(this.authority, request, { name: identity.name, days })
    registry?.addCertificate(identity.name, readCertificate(certificate))
    return this.write({ certificate, key })
  }

  private async write({ certificate, key }: CertifiedKey): Promise<PairFiles> {
    const stem = join(this.directory, `pair-${this.files++}`)
    const files = { certificate: `${stem}.pem`, key: `${stem}.key` }
    await writeFile(files.certificate, certificate)
    await writeFile(files.key, key)
    return files
  }
}

/** Signs a certificate with the authority that `provision init` made in a directory; the files stay there. */
export async function issueCertificate(directory: string, name: string): Promise<PairFiles & { ca: string }> {
  const ca = join(directory, 'ca.pem')
  const authority = { certificate: await readFile(ca, 'utf8'), key: await readFile(join(directory, 'ca.key'), 'utf8') }
  const { request, key } = await createRequest(name)
  const certificate = await signRequest(authority, request, { name, days: 1 })
  const stem = join(directory, name.replaceAll('/', '-'))
  const files = { ca, certificate: `${stem}.pem`, key: `${stem}.key` }
  await writeFile(files.certificate, certificate)
  await writeFile(files.key, key, { mode: 0o600 })
  return files
}
