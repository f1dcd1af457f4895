import { type Identity, parseIdentity } from '@faultline/protocol'

/** One identity as the registry has it; times are ISO 8601. */
export interface RegistryEntry extends Identity {
  enrolledAt: string
  rotatedAt?: string
  revokedAt?: string
  /** Whether it may log in by a secret. */
  hasSecret: boolean
  /** Until when the secret before is good as well, during a rotation. */
  formerSecretUntil?: string
  /** When the last of its certificates ends. */
  certificateUntil?: string
  /** The authority that signed the newest of them, by its fingerprint; absent where nobody wrote it down. */
  certifiedBy?: string
  /** The newest authority it was told to believe, by its fingerprint. */
  believes?: string
  /** Until when it may fetch a certificate, while it has not. */
  claimUntil?: string
}

export interface Row {
  name: string
  enrolled_at: string
  rotated_at: string | null
  revoked_at: string | null
  has_secret: number
  former_until: string | null
  certificate_until: string | null
  certified_by: string | null
  believes: string | null
  claim_until: string | null
}

const now = `strftime('%Y-%m-%dT%H:%M:%fZ', 'now')`

export const entryQuery = `SELECT name, enrolled_at, rotated_at, revoked_at, secret_hash <> '' AS has_secret,
  (SELECT ends_at FROM former_secrets WHERE former_secrets.name = identities.name AND ends_at > ${now}) AS former_until,
  (SELECT max(min(expires_at, ifnull(certificates.revoked_at, expires_at))) FROM certificates
   WHERE certificates.name = identities.name AND (certificates.revoked_at IS NULL OR certificates.revoked_at > ${now})
  ) AS certificate_until,
  (SELECT authority FROM certificates WHERE certificates.name = identities.name AND expires_at > ${now}
   AND (certificates.revoked_at IS NULL OR certificates.revoked_at > ${now}) ORDER BY issued_at DESC, rowid DESC LIMIT 1
  ) AS certified_by, believes,
  (SELECT expires_at FROM claims WHERE claims.name = identities.name AND claimed_at IS NULL) AS claim_until
  FROM identities`

export function entryOf(row: Row): RegistryEntry {
  return {
    ...parseIdentity(row.name),
    enrolledAt: row.enrolled_at,
    ...(row.rotated_at !== null && { rotatedAt: row.rotated_at }),
    ...(row.revoked_at !== null && { revokedAt: row.revoked_at }),
    hasSecret: row.has_secret === 1,
    ...(row.former_until !== null && { formerSecretUntil: row.former_until }),
    ...(row.certificate_until !== null && { certificateUntil: row.certificate_until }),
    ...(row.certified_by !== null && { certifiedBy: row.certified_by }),
    ...(row.believes !== null && { believes: row.believes }),
    ...(row.claim_until !== null && { claimUntil: row.claim_until }),
  }
}
