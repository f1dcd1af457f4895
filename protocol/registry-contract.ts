import type { Identity } from './identity.ts'

/**
 * What a broker needs to know of an identity. Provisioning owns the registry; the broker only asks through this
 * interface, so that neither imports the other.
 */
export interface RegistryReader {
  /** Undefined for a name that is not enrolled or was revoked. */
  credential(name: string): { identity: Identity; secretHash: string } | undefined
  /**
   * Whose certificate it is, by the SHA-256 of its DER form in lower-case hexadecimal; undefined for one that was not
   * issued here, was revoked, or is of an identity that was. A certificate that is not listed is none, whoever signed it.
   */
  certificate(fingerprint: string): { identity: Identity } | undefined
  /** Another value after every change, cheap enough to be asked several times a second. */
  version(): string
}

/**
 * The registry's table that other processes may read, a contract of its own: provisioning writes it, a stand-alone
 * broker reads it from the file.
 */
export const registryTable = `
CREATE TABLE IF NOT EXISTS identities (
  name TEXT PRIMARY KEY,
  role TEXT NOT NULL,
  secret_hash TEXT NOT NULL,
  enrolled_at TEXT NOT NULL,
  revoked_at TEXT
) STRICT`

/** Certificates that were issued. An identity may have several at once, so that one can take the place of another. */
export const certificateTable = `
CREATE TABLE IF NOT EXISTS certificates (
  fingerprint TEXT PRIMARY KEY,
  name TEXT NOT NULL REFERENCES identities (name),
  issued_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  revoked_at TEXT
) STRICT`

export const certificateQuery = `SELECT name FROM certificates JOIN identities USING (name)
  WHERE fingerprint = ? AND certificates.revoked_at IS NULL AND identities.revoked_at IS NULL`

export const credentialQuery = 'SELECT name, secret_hash FROM identities WHERE name = ? AND revoked_at IS NULL'
