import {
  type Credential,
  certificateQuery,
  credentialQuery,
  FaultlineError,
  formerSecretQuery,
  hashSecret,
  type Identity,
  newSecret,
  parseIdentity,
  type RegistryReader,
  type Role,
} from '@faultline/protocol'
import { type DatabaseSync, readCertificate, type Service } from '@faultline/runtime'
import { type AuditAction, type AuditEntry, type AuditFilter, readChanges, recordChange } from './audit-log.ts'
import {
  type CertificateEntry,
  certificatesOf,
  detailOf,
  endCertificates,
  findRenewable,
  type Issued,
  insertCertificate,
  type ListedCertificate,
} from './certificates.ts'
import { type Claim, claimRefused, findClaim, openClaim, spendClaim } from './claims.ts'
import { RegistryDatabase } from './registry-database.ts'
import { entryOf, entryQuery, type RegistryEntry, type Row } from './registry-entry.ts'

export interface RegistryFilter {
  role?: Role | undefined
  site?: string | undefined
  includeRevoked?: boolean
}

/** How an identity is to log in from now on: by a secret, or by a certificate that it claims within so long. */
export type Grant = { kind: 'secret' } | { kind: 'claim'; validMs: number }

/** What was granted; it is not to be had again. */
export type Granted = GrantedSecret | ({ kind: 'claim' } & Claim)

interface GrantedSecret {
  kind: 'secret'
  secret: string
}

/**
 * The identities of a fleet, the hashes of their secrets and the fingerprints of their certificates, in a SQLite file
 * that several processes may use at once. What is secret is returned when it is made and never again. Every change is
 * in the audit log. Failures of the file throw `DATABASE_FAILED`.
 */
export class Registry implements RegistryReader, Service {
  readonly database: RegistryDatabase

  /** `:memory:` works, for one process. */
  constructor(path: string) {
    this.database = new RegistryDatabase(path)
  }

  async start(): Promise<void> {
    await this.database.start()
  }

  async stop(): Promise<void> {
    await this.database.stop()
  }

  /** Adds an identity, or brings a revoked one back with a new secret. Throws `IDENTITY_EXISTS`. */
  async enroll(identity: Identity): Promise<{ secret: string }> {
    if (this.isActive(identity.name)) throw alreadyEnrolled(identity.name) // Before the hash, which takes a while.
    const { secret, hash } = await freshSecret()
    this.database.change((database, now) => this.add(database, now, identity, hash))
    return { secret }
  }

  /** As `enroll`, for an identity that will fetch a certificate and has no secret. Throws `IDENTITY_EXISTS`. */
  enrollToClaim(identity: Identity, validMs: number): Claim {
    return this.enrollAll([identity], validMs)[0]!
  }

  /** Enrols all or, when it throws, none: `IDENTITY_EXISTS`. Calls `progress` after each. Claims in the same order. */
  enrollAll(identities: readonly Identity[], validMs: number, progress: () => void = () => {}): Claim[] {
    return this.database.change((database, now) =>
      identities.map(identity => {
        this.add(database, now, identity, '', 'with a claim')
        const claim = openClaim(database, identity.name, now, validMs)
        progress()
        return claim
      }),
    )
  }

  /**
   * Gives an identity, also one that was revoked, new means to log in and voids all it had, at once: the broker ends its
   * connections. Throws `IDENTITY_UNKNOWN`.
   */
  async reEnroll(name: string, grant: Grant): Promise<Granted> {
    this.show(name)
    const fresh = await prepare(grant)
    return this.database.change((database, now) => {
      this.clear(database, name, now)
      database
        .prepare(
          'UPDATE identities SET secret_hash = ?, enrolled_at = ?, rotated_at = NULL, revoked_at = NULL WHERE name = ?',
        )
        .run(fresh.hash, now, name)
      recordChange(database, { at: now, action: 're-enrolled', name, detail: `with a ${grant.kind}` })
      return grantTo(database, name, now, fresh)
    })
  }

  /**
   * Gives an identity new means to log in beside those it has, which end after `overlapMs`: at once for 0. A new secret
   * ends the old one; a claim ends the secret and all certificates. Throws `IDENTITY_UNKNOWN`.
   */
  rotate(name: string, options?: { grant?: { kind: 'secret' }; overlapMs?: number }): Promise<GrantedSecret>
  rotate(name: string, options: { grant: Grant; overlapMs?: number }): Promise<Granted>
  async rotate(
    name: string,
    { grant = { kind: 'secret' }, overlapMs = 0 }: { grant?: Grant; overlapMs?: number } = {},
  ): Promise<Granted> {
    this.findActive(name)
    const fresh = await prepare(grant)
    return this.database.change((database, now) => {
      this.findActive(name)
      const endsAt = new Date(Date.parse(now) + overlapMs).toISOString()
      this.retireSecret(database, name, endsAt, overlapMs)
      if (grant.kind === 'claim') endCertificates(database, name, endsAt)
      database
        .prepare('UPDATE identities SET secret_hash = ?, rotated_at = ? WHERE name = ?')
        .run(fresh.hash, now, name)
      const detail = overlapMs === 0 ? `to a ${grant.kind}` : `to a ${grant.kind}; what was before ends ${endsAt}`
      recordChange(database, { at: now, action: 'rotated', name, detail })
      return grantTo(database, name, now, fresh)
    })
  }

  /** Opens a claim for an identity and leaves what it has as it is. Throws `IDENTITY_UNKNOWN`. */
  openClaim(name: string, validMs: number, action: AuditAction): Claim {
    return this.database.change((database, now) => {
      this.findActive(name)
      recordChange(database, { at: now, action, name, detail: 'with a claim' })
      return openClaim(database, name, now, validMs)
    })
  }

  /**
   * Spends a claim on a certificate, once: whoever comes with the same key again gets the same certificate again, as an
   * answer may be lost on the way. Throws `CLAIM_REFUSED`, and what `certify` throws.
   * @param keyDigest Of the key that asks; see `CertificateFacts`.
   * @param certify Makes the certificate.
   */
  async claim(
    { name, token, keyDigest }: { name: string; token: string; keyDigest: string },
    certify: () => Promise<Issued>,
    actor: string,
  ): Promise<string> {
    const claimed = this.database.read(database => findClaim(database, name, token, new Date().toISOString()))
    if (claimed.certificate !== null) return sameKey(claimed.certificate, keyDigest)
    const { certificate, authority } = await certify()
    const facts = { ...readCertificate(certificate), authority }
    return this.database.change((database, now) => {
      const { certificate: earlier } = findClaim(database, name, token, now)
      if (earlier !== null) return sameKey(earlier, keyDigest) // Somebody was quicker.
      spendClaim(database, name, now, certificate)
      insertCertificate(database, name, facts, now)
      recordChange(database, {
        at: now,
        action: 'claimed',
        name,
        actor,
        detail: detailOf(facts),
      })
      return certificate
    })
  }

  /**
   * Lists a certificate that was issued to an identity, by its fingerprint. Those it has already stay valid, so that a
   * new one can be installed before the old one ends. Throws `IDENTITY_UNKNOWN`.
   */
  addCertificate(
    name: string,
    facts: CertificateEntry,
    { action = 'certified', actor }: { action?: AuditAction; actor?: string } = {},
  ): void {
    this.database.change((database, now) => {
      this.findActive(name)
      insertCertificate(database, name, facts, now)
      recordChange(database, { at: now, action, name, actor, detail: detailOf(facts) })
    })
  }

  /**
   * Replaces a certificate by a newer one of the same identity; the old one stays good until its own end. Throws
   * `ENROLMENT_REFUSED` (see `findRenewable`), and what `certify` throws.
   */
  async renew(
    fingerprint: string,
    certify: (name: string) => Promise<Issued>,
    actor: (name: string) => string,
  ): Promise<{ name: string; certificate: string }> {
    const { name } = this.database.read(database => findRenewable(database, fingerprint))
    const { certificate, authority } = await certify(name)
    const facts = { ...readCertificate(certificate), authority }
    this.database.change((database, now) => {
      findRenewable(database, fingerprint)
      insertCertificate(database, name, facts, now)
      recordChange(database, { at: now, action: 'renewed', name, actor: actor(name), detail: detailOf(facts) })
    })
    return { name, certificate }
  }

  /** Writes down which authority an identity was told to believe, by its fingerprint. */
  told(name: string, authority: string): void {
    const known = this.database.read(database =>
      database.prepare('SELECT 1 FROM identities WHERE name = ? AND believes = ?').get(name, authority),
    )
    if (known) return // As every day: nothing is written.
    this.database.change(database => {
      database.prepare('UPDATE identities SET believes = ? WHERE name = ?').run(authority, name)
    })
  }

  /** Ends an identity's access, by secret and by certificate: the broker ends its connections too. Throws `IDENTITY_UNKNOWN`, also for one that is revoked already. */
  revoke(name: string): void {
    this.database.change((database, now) => {
      this.findActive(name)
      database.prepare('UPDATE identities SET revoked_at = ? WHERE name = ?').run(now, name)
      this.clear(database, name, now)
      recordChange(database, { at: now, action: 'revoked', name })
    })
  }

  /** Writes down what was done beside the registry. */
  record(action: AuditAction, name: string, detail?: string, actor?: string): void {
    this.database.change((database, at) =>
      recordChange(database, { at, action, name, actor, ...(detail !== undefined && { detail }) }),
    )
  }

  /** Identities by name; without the revoked ones unless asked for. */
  list({ role, site, includeRevoked = false }: RegistryFilter = {}): RegistryEntry[] {
    const query = `${entryQuery} WHERE (?1 IS NULL OR role = ?1) AND (?2 IS NULL OR site = ?2)
      AND (?3 OR revoked_at IS NULL) ORDER BY name`
    return this.database.read(database =>
      (database.prepare(query).all(role ?? null, site ?? null, Number(includeRevoked)) as unknown as Row[]).map(
        entryOf,
      ),
    )
  }

  /** One identity, revoked or not. Throws `IDENTITY_UNKNOWN`. */
  show(name: string): RegistryEntry {
    const row = this.find(name)
    if (row) return entryOf(row)
    throw new FaultlineError('IDENTITY_UNKNOWN', `${name} is not enrolled`)
  }

  /** The certificates of an identity that were not ended, the newest first. */
  certificates(name: string): ListedCertificate[] {
    return this.database.read(database => certificatesOf(database, name, new Date().toISOString()))
  }

  /** The state changes of an identity, or of all, oldest first. */
  history(filter: string | AuditFilter = {}): AuditEntry[] {
    return this.database.read(database => readChanges(database, typeof filter === 'string' ? { name: filter } : filter))
  }

  credential(name: string): Credential | undefined {
    return this.database.read(database => {
      const row = database.prepare(credentialQuery).get(name) as { name: string; secret_hash: string } | undefined
      if (!row) return undefined
      const former = database.prepare(formerSecretQuery).get(name) as { secret_hash: string } | undefined
      const identity = parseIdentity(row.name)
      return { identity, secretHash: row.secret_hash, ...(former && { formerHash: former.secret_hash }) }
    })
  }

  certificate(fingerprint: string): { identity: Identity } | undefined {
    const row = this.database.read(database => database.prepare(certificateQuery).get(fingerprint)) as
      | { name: string }
      | undefined
    return row && { identity: parseIdentity(row.name) }
  }

  version(): string {
    return this.database.version()
  }

  private add(
    database: DatabaseSync,
    now: string,
    { name, role, site }: Identity,
    hash: string,
    detail?: string,
  ): void {
    const known = database.prepare('SELECT revoked_at FROM identities WHERE name = ?').get(name) as
      | { revoked_at: string | null }
      | undefined
    if (known?.revoked_at === null) throw alreadyEnrolled(name)
    database
      .prepare(
        `INSERT INTO identities (name, role, site, secret_hash, enrolled_at) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET secret_hash = excluded.secret_hash, enrolled_at = excluded.enrolled_at,
           rotated_at = NULL, revoked_at = NULL`,
      )
      .run(name, role, site ?? null, hash, now)
    // Whoever kept a certificate from before the revocation does not come back with the name.
    if (known) this.clear(database, name, now)
    recordChange(database, { at: now, action: 'enrolled', name, ...(detail !== undefined && { detail }) })
  }

  /** Ends every means to log in but the secret. */
  private clear(database: DatabaseSync, name: string, now: string): void {
    endCertificates(database, name, now)
    database.prepare('DELETE FROM former_secrets WHERE name = ?').run(name)
    database.prepare('DELETE FROM claims WHERE name = ?').run(name)
  }

  private retireSecret(database: DatabaseSync, name: string, endsAt: string, overlapMs: number): void {
    database.prepare('DELETE FROM former_secrets WHERE name = ?').run(name)
    if (overlapMs === 0) return
    database
      .prepare(
        `INSERT INTO former_secrets (name, secret_hash, ends_at)
         SELECT name, secret_hash, ? FROM identities WHERE name = ? AND secret_hash <> ''`,
      )
      .run(endsAt, name)
  }

  private find(name: string): Row | undefined {
    const query = `${entryQuery} WHERE name = ?`
    return this.database.read(database => database.prepare(query).get(name)) as unknown as Row | undefined
  }

  private isActive(name: string): boolean {
    const query = 'SELECT 1 FROM identities WHERE name = ? AND revoked_at IS NULL'
    return this.database.read(database => database.prepare(query).get(name)) !== undefined
  }

  private findActive(name: string): void {
    const { revokedAt } = this.show(name)
    if (revokedAt) throw new FaultlineError('IDENTITY_UNKNOWN', `${name} was revoked on ${revokedAt}`)
  }
}

type Fresh = { grant: Grant; secret: string; hash: string }

/** Before the transaction: the hash of a secret takes a while. */
const prepare = async (grant: Grant): Promise<Fresh> =>
  grant.kind === 'secret' ? { grant, ...(await freshSecret()) } : { grant, secret: '', hash: '' }

const grantTo = (database: DatabaseSync, name: string, now: string, { grant, secret }: Fresh): Granted =>
  grant.kind === 'secret'
    ? { kind: 'secret', secret }
    : { kind: 'claim', ...openClaim(database, name, now, grant.validMs) }

async function freshSecret(): Promise<{ secret: string; hash: string }> {
  const secret = newSecret()
  return { secret, hash: await hashSecret(secret) }
}

function sameKey(certificate: string, keyDigest: string): string {
  if (readCertificate(certificate).keyDigest === keyDigest) return certificate
  throw claimRefused()
}

const alreadyEnrolled = (name: string): FaultlineError =>
  new FaultlineError('IDENTITY_EXISTS', `${name} is enrolled already`)
