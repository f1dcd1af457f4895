import { chmodSync, closeSync, mkdirSync, openSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname } from 'node:path'
import {
  certificateQuery,
  credentialQuery,
  FaultlineError,
  hashSecret,
  type Identity,
  newSecret,
  parseIdentity,
  type RegistryReader,
  type Role,
  toFaultlineError,
} from '@faultline/protocol'
import { type DatabaseSync, inTransaction, openDatabase, type Service, versionOf } from '@faultline/runtime'
import { migrations } from './migrations.ts'

/** One identity as the registry has it; times are ISO 8601. */
export interface RegistryEntry extends Identity {
  enrolledAt: string
  rotatedAt?: string
  revokedAt?: string
}

/** One state change. `actor` is the user of the operating system who made it. */
export interface AuditEntry {
  at: string
  action: 'enrolled' | 'certified' | 'rotated' | 'revoked'
  name: string
  actor: string
}

export interface RegistryFilter {
  role?: Role
  site?: string
  includeRevoked?: boolean
}

interface Row {
  name: string
  enrolled_at: string
  rotated_at: string | null
  revoked_at: string | null
}

/**
 * The identities of a fleet and the hashes of their secrets, in a SQLite file that several processes may use at once.
 * A secret is returned when it is made and never again. Failures of the file throw `DATABASE_FAILED`.
 */
export class Registry implements RegistryReader, Service {
  private readonly path: string
  private open: DatabaseSync | undefined

  /** `:memory:` works, for one process. */
  constructor(path: string) {
    this.path = path
  }

  async start(): Promise<void> {
    if (this.path !== ':memory:') this.restrictFile()
    this.open = openDatabase(this.path, migrations)
  }

  async stop(): Promise<void> {
    this.open?.close()
    this.open = undefined
  }

  /** Adds an identity, or brings a revoked one back with a new secret. Throws `IDENTITY_EXISTS`. */
  async enroll(identity: Identity): Promise<{ secret: string }> {
    const { name, role, site } = identity
    if (this.find(name)?.revoked_at === null) throw alreadyEnrolled(name) // Before the hash, which takes a while.
    const { secret, hash, now } = await this.freshSecret()
    this.change(database => {
      if (this.find(name)?.revoked_at === null) throw alreadyEnrolled(name)
      database
        .prepare(
          `INSERT INTO identities (name, role, site, secret_hash, enrolled_at) VALUES (?, ?, ?, ?, ?)
           ON CONFLICT (name) DO UPDATE SET secret_hash = excluded.secret_hash, enrolled_at = excluded.enrolled_at,
             rotated_at = NULL, revoked_at = NULL`,
        )
        .run(name, role, site ?? null, hash, now)
      // Whoever kept a certificate from before the revocation does not come back with the name.
      this.revokeCertificates(database, name, now)
      this.audit(database, 'enrolled', name, now)
    })
    return { secret }
  }

  /**
   * Lists a certificate that was issued to an identity, by its fingerprint. Those it has already stay valid, so that a
   * new one can be installed before the old one ends. Throws `IDENTITY_UNKNOWN`.
   */
  addCertificate(name: string, { fingerprint, expiresAt }: { fingerprint: string; expiresAt: Date }): void {
    const now = new Date().toISOString()
    this.change(database => {
      this.findActive(name)
      database
        .prepare('INSERT INTO certificates (fingerprint, name, issued_at, expires_at) VALUES (?, ?, ?, ?)')
        .run(fingerprint, name, now, expiresAt.toISOString())
      this.audit(database, 'certified', name, now)
    })
  }

  /** Ends an identity's access, by secret and by certificate: the broker ends its connections too. Throws `IDENTITY_UNKNOWN`, also for one that is revoked already. */
  revoke(name: string): void {
    const now = new Date().toISOString()
    this.change(database => {
      this.findActive(name)
      database.prepare('UPDATE identities SET revoked_at = ? WHERE name = ?').run(now, name)
      this.revokeCertificates(database, name, now)
      this.audit(database, 'revoked', name, now)
    })
  }

  /** Replaces the secret; the old one is refused from now on. Throws `IDENTITY_UNKNOWN`. */
  async rotate(name: string): Promise<{ secret: string }> {
    this.findActive(name)
    const { secret, hash, now } = await this.freshSecret()
    this.change(database => {
      this.findActive(name)
      database.prepare('UPDATE identities SET secret_hash = ?, rotated_at = ? WHERE name = ?').run(hash, now, name)
      this.audit(database, 'rotated', name, now)
    })
    return { secret }
  }

  /** Identities by name; without the revoked ones unless asked for. */
  list({ role, site, includeRevoked = false }: RegistryFilter = {}): RegistryEntry[] {
    const query = `SELECT name, enrolled_at, rotated_at, revoked_at FROM identities
      WHERE (?1 IS NULL OR role = ?1) AND (?2 IS NULL OR site = ?2) AND (?3 OR revoked_at IS NULL) ORDER BY name`
    return this.read(database =>
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

  /** The state changes of an identity, or of all, oldest first. */
  history(name?: string): AuditEntry[] {
    const query = 'SELECT at, action, name, actor FROM audit_log WHERE ?1 IS NULL OR name = ?1 ORDER BY sequence'
    return this.read(database => database.prepare(query).all(name ?? null) as unknown as AuditEntry[])
  }

  credential(name: string): ReturnType<RegistryReader['credential']> {
    const row = this.read(database => database.prepare(credentialQuery).get(name)) as
      | { name: string; secret_hash: string }
      | undefined
    return row && { identity: parseIdentity(row.name), secretHash: row.secret_hash }
  }

  certificate(fingerprint: string): ReturnType<RegistryReader['certificate']> {
    const row = this.read(database => database.prepare(certificateQuery).get(fingerprint)) as
      | { name: string }
      | undefined
    return row && { identity: parseIdentity(row.name) }
  }

  version(): string {
    return this.read(versionOf)
  }

  private revokeCertificates(database: DatabaseSync, name: string, now: string): void {
    database.prepare('UPDATE certificates SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL').run(now, name)
  }

  private find(name: string): Row | undefined {
    const query = 'SELECT name, enrolled_at, rotated_at, revoked_at FROM identities WHERE name = ?'
    return this.read(database => database.prepare(query).get(name)) as unknown as Row | undefined
  }

  private findActive(name: string): void {
    const { revokedAt } = this.show(name)
    if (revokedAt) throw new FaultlineError('IDENTITY_UNKNOWN', `${name} was revoked on ${revokedAt}`)
  }

  private async freshSecret(): Promise<{ secret: string; hash: string; now: string }> {
    const secret = newSecret()
    return { secret, hash: await hashSecret(secret), now: new Date().toISOString() }
  }

  private audit(database: DatabaseSync, action: AuditEntry['action'], name: string, at: string): void {
    database
      .prepare('INSERT INTO audit_log (at, action, name, actor) VALUES (?, ?, ?, ?)')
      .run(at, action, name, actor())
  }

  private change(work: (database: DatabaseSync) => void): void {
    this.read(database => inTransaction(database, () => work(database)))
  }

  private read<T>(work: (database: DatabaseSync) => T): T {
    if (!this.open) throw new FaultlineError('DATABASE_FAILED', `${this.path} is not open`)
    try {
      return work(this.open)
    } catch (thrown) {
      throw toFaultlineError(thrown, 'DATABASE_FAILED', this.path)
    }
  }

  /** Only its owner may read the hashes. SQLite gives the files beside it (-wal, -shm) the same mode. */
  private restrictFile(): void {
    try {
      mkdirSync(dirname(this.path), { recursive: true })
      closeSync(openSync(this.path, 'a', 0o600))
      chmodSync(this.path, 0o600)
    } catch (thrown) {
      throw toFaultlineError(thrown, 'DATABASE_FAILED', this.path)
    }
  }
}

const alreadyEnrolled = (name: string): FaultlineError =>
  new FaultlineError('IDENTITY_EXISTS', `${name} is enrolled already`)

function entryOf(row: Row): RegistryEntry {
  return {
    ...parseIdentity(row.name),
    enrolledAt: row.enrolled_at,
    ...(row.rotated_at !== null && { rotatedAt: row.rotated_at }),
    ...(row.revoked_at !== null && { revokedAt: row.revoked_at }),
  }
}

function actor(): string {
  try {
    return userInfo().username
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}` // A container may have no entry for its user.
  }
}
