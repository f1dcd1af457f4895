import {
  certificateQuery,
  credentialQuery,
  FaultlineError,
  formerSecretQuery,
  lastEndQuery,
  parseIdentity,
  type RegistryReader,
} from '@faultline/protocol'
import { type DatabaseSync, openReadOnly, type Service, type StatementSync, versionOf } from '@faultline/runtime'

/**
 * The registry as another process keeps it, for a broker that runs alone. Every login reads the file, so that enrolment
 * and revocation hold at once.
 */
export class RegistryFile implements RegistryReader, Service {
  private readonly path: string
  private database: DatabaseSync | undefined
  private query: StatementSync | undefined
  private certificates: StatementSync | undefined
  private formerSecrets: StatementSync | undefined
  private lastEnd: StatementSync | undefined

  constructor(path: string) {
    this.path = path
  }

  /** Throws `DATABASE_FAILED`, also for a file that is no registry. */
  async start(): Promise<void> {
    const database = openReadOnly(this.path)
    try {
      database.exec('PRAGMA busy_timeout = 5000')
      this.query = database.prepare(credentialQuery)
    } catch (cause) {
      database.close()
      throw new FaultlineError('DATABASE_FAILED', `${this.path}: no registry: ${(cause as Error).message}`, { cause })
    }
    this.database = database
    try {
      this.certificates = database.prepare(certificateQuery)
      this.formerSecrets = database.prepare(formerSecretQuery)
      this.lastEnd = database.prepare(lastEndQuery)
    } catch {
      // A registry of an earlier version, to which provisioning has not yet added the tables: they list nothing.
    }
  }

  async stop(): Promise<void> {
    this.query = undefined
    this.certificates = undefined
    this.formerSecrets = undefined
    this.lastEnd = undefined
    this.database?.close()
    this.database = undefined
  }

  /** Throws `DATABASE_FAILED`. */
  credential(name: string): ReturnType<RegistryReader['credential']> {
    const row = this.read(() => this.query?.get(name)) as { name: string; secret_hash: string } | undefined
    if (!row) return undefined
    const former = this.read(() => this.formerSecrets?.get(name)) as { secret_hash: string } | undefined
    return {
      identity: parseIdentity(row.name),
      secretHash: row.secret_hash,
      ...(former && { formerHash: former.secret_hash }),
    }
  }

  /** Throws `DATABASE_FAILED`. */
  certificate(fingerprint: string): ReturnType<RegistryReader['certificate']> {
    const row = this.read(() => this.certificates?.get(fingerprint)) as { name: string } | undefined
    return row && { identity: parseIdentity(row.name) }
  }

  /** Throws `DATABASE_FAILED`. */
  version(): string {
    return this.read(() => {
      const ended = this.lastEnd?.get() as { at: string } | undefined
      return this.database ? `${versionOf(this.database)} ${ended?.at ?? ''}` : ''
    })
  }

  private read<T>(work: () => T): T {
    try {
      return work()
    } catch (cause) {
      throw new FaultlineError('DATABASE_FAILED', `${this.path}: ${(cause as Error).message}`, { cause })
    }
  }
}
