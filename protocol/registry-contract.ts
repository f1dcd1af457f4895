import type { Identity } from './identity.ts'

/**
 * What a broker needs to know of an identity. Provisioning owns the registry; the broker only asks through this
 * interface, so that neither imports the other.
 */
export interface RegistryReader {
  /** Undefined for a name that is not enrolled or was revoked. */
  credential(name: string): { identity: Identity; secretHash: string } | undefined
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

export const credentialQuery = 'SELECT name, secret_hash FROM identities WHERE name = ? AND revoked_at IS NULL'
