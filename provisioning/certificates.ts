import { certificateQuery, FaultlineError } from '@faultline/protocol'
import type { CertificateFacts, DatabaseSync } from '@faultline/runtime'

/** A certificate (PEM), and the authority that signed it, by its fingerprint. */
export interface Issued {
  certificate: string
  authority: string
}

export type CertificateEntry = Pick<CertificateFacts, 'fingerprint' | 'notAfter'> & { authority?: string | null }

/** A certificate as the registry has it. */
export interface ListedCertificate {
  fingerprint: string
  /** ISO 8601. */
  until: string
  state: 'until' | 'rotated out'
  /** By its fingerprint; null where nobody wrote it down. */
  authority: string | null
}

const dayMs = 86_400_000
/** Far more than a device needs that renews in time; a hostile one cannot fill the registry. */
const renewalsPerDay = 10

export function insertCertificate(
  database: DatabaseSync,
  name: string,
  { fingerprint, notAfter, authority = null }: CertificateEntry,
  now: string,
): void {
  database
    .prepare('INSERT INTO certificates (fingerprint, name, issued_at, expires_at, authority) VALUES (?, ?, ?, ?, ?)')
    .run(fingerprint, name, now, notAfter.toISOString(), authority)
}

/** Those of an identity that were not ended, the newest first. */
export function certificatesOf(database: DatabaseSync, name: string, now: string): ListedCertificate[] {
  const query = `SELECT fingerprint, authority, min(expires_at, ifnull(revoked_at, expires_at)) AS until,
    iif(revoked_at IS NULL, 'until', 'rotated out') AS state FROM certificates
    WHERE name = ? AND (revoked_at IS NULL OR revoked_at > ?) ORDER BY issued_at DESC, rowid DESC`
  return database.prepare(query).all(name, now) as unknown as ListedCertificate[]
}

export function endCertificates(database: DatabaseSync, name: string, at: string): void {
  database
    .prepare('UPDATE certificates SET revoked_at = ?1 WHERE name = ?2 AND (revoked_at IS NULL OR revoked_at > ?1)')
    .run(at, name)
}

/**
 * Whose certificate it is. Throws `ENROLMENT_REFUSED` for one that is not listed, was revoked, ends by rotation (or it would
 * never end), or was renewed `renewalsPerDay` times today.
 */
export function findRenewable(database: DatabaseSync, fingerprint: string): { name: string } {
  const refused = (why: string) => new FaultlineError('ENROLMENT_REFUSED', why)
  const listed = database.prepare(certificateQuery).get(fingerprint) as { name: string } | undefined
  if (!listed) throw refused('the certificate is unknown, over or revoked')
  const ending = 'SELECT 1 FROM certificates WHERE fingerprint = ? AND revoked_at IS NOT NULL'
  if (database.prepare(ending).get(fingerprint)) throw refused('the certificate is being rotated: claim a new one')
  const { count } = database
    .prepare('SELECT count(*) AS count FROM certificates WHERE name = ? AND issued_at > ?')
    .get(listed.name, new Date(Date.now() - dayMs).toISOString()) as { count: number }
  if (count > renewalsPerDay) throw refused('renewed too often today')
  return listed
}

/** As the audit log tells of it. */
export const detailOf = ({ fingerprint, notAfter }: CertificateEntry): string =>
  `certificate ${fingerprint.slice(0, 16)}…, until ${notAfter.toISOString()}`
