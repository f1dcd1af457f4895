import type { Identity } from './identity.ts'

/** What an identity logs in with when it shows no certificate. */
export interface Credential {
  identity: Identity
  /** Empty where a certificate is the only way in: no secret fits. */
  secretHash: string
  /** The secret before a rotation, for as long as both are good. */
  formerHash?: string
}

/**
 * What a broker needs to know of an identity. Provisioning owns the registry; the broker only asks through this
 * interface, so that neither imports the other.
 */
export interface RegistryReader {
  /** Undefined for a name that is not enrolled or was revoked. */
  credential(name: string): Credential | undefined
  /**
   * Whose certificate it is, by the SHA-256 of its DER form in lower-case hexadecimal; undefined for one that was not
   * issued here, is beyond its last day, was revoked, or is of an identity that was. A certificate that is not listed is none, whoever signed it.
   */
  certificate(fingerprint: string): { identity: Identity } | undefined
  /**
   * Another value after every change, and after every moment at which something ended as planned; cheap enough to be
   * asked several times a second.
   */
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

/**
 * Certificates that were issued. An identity may have several at once, so that one can take the place of another;
 * `revoked_at` may lie ahead, at the end of a rotation.
 */
export const certificateTable = `
CREATE TABLE IF NOT EXISTS certificates (
  fingerprint TEXT PRIMARY KEY,
  name TEXT NOT NULL REFERENCES identities (name),
  issued_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  revoked_at TEXT
) STRICT`

/** The secret an identity had before its last rotation, while it is still good. */
export const formerSecretTable = `
CREATE TABLE IF NOT EXISTS former_secrets (
  name TEXT PRIMARY KEY REFERENCES identities (name),
  secret_hash TEXT NOT NULL,
  ends_at TEXT NOT NULL
) STRICT`

/** Now, as the registry writes times: as text they sort by time. */
const now = `strftime('%Y-%m-%dT%H:%M:%fZ', 'now')`

export const certificateQuery = `SELECT name FROM certificates JOIN identities USING (name)
  WHERE fingerprint = ? AND expires_at > ${now} AND (certificates.revoked_at IS NULL OR certificates.revoked_at > ${now})
  AND identities.revoked_at IS NULL`

export const credentialQuery = 'SELECT name, secret_hash FROM identities WHERE name = ? AND revoked_at IS NULL'

export const formerSecretQuery = `SELECT secret_hash FROM former_secrets WHERE name = ? AND ends_at > ${now}`

/** The last moment at which a certificate or a secret ended as planned, which is no change to the data. */
export const lastEndQuery = `SELECT max(
  ifnull((SELECT max(expires_at) FROM certificates WHERE expires_at <= ${now}), ''),
  ifnull((SELECT max(revoked_at) FROM certificates WHERE revoked_at <= ${now}), ''),
  ifnull((SELECT max(ends_at) FROM former_secrets WHERE ends_at <= ${now}), '')) AS at`
