import { createHash, timingSafeEqual } from 'node:crypto'
import { FaultlineError, newSecret } from '@faultline/protocol'
import type { DatabaseSync } from '@faultline/runtime'

/** What a device needs to fetch its first certificate: a one-time token, shown when it is made and never again. */
export interface Claim {
  token: string
  /** ISO 8601. */
  expiresAt: string
}

/** A claim as the registry has it. */
export interface ClaimRow {
  name: string
  token_hash: string
  expires_at: string
  claimed_at: string | null
  /** PEM, once claimed: a device whose answer was lost gets the same again. */
  certificate: string | null
}

/** Compared with when nothing is claimed under a name, so that it takes as long. */
const decoy = digestOf(newSecret())

/** A token is as random as a secret (192 bit), so that a plain digest keeps it. */
function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

/** Opens a claim, in place of the one there may be. */
export function openClaim(database: DatabaseSync, name: string, now: string, validMs: number): Claim {
  const claim = { token: newSecret(), expiresAt: new Date(Date.parse(now) + validMs).toISOString() }
  database
    .prepare(
      `INSERT INTO claims (name, token_hash, expires_at) VALUES (?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET token_hash = excluded.token_hash, expires_at = excluded.expires_at,
         claimed_at = NULL, certificate = NULL`,
    )
    .run(name, digestOf(claim.token).toString('hex'), claim.expiresAt)
  return claim
}

/** The claim a token belongs to, compared in constant time. Throws `CLAIM_REFUSED`, in the same words whatever is wrong. */
export function findClaim(database: DatabaseSync, name: string, token: string, now: string): ClaimRow {
  const row = database
    .prepare(
      `SELECT claims.* FROM claims JOIN identities USING (name) WHERE name = ? AND expires_at > ? AND revoked_at IS NULL`,
    )
    .get(name, now) as ClaimRow | undefined
  const right = timingSafeEqual(row ? Buffer.from(row.token_hash, 'hex') : decoy, digestOf(token))
  if (!row || !right) throw claimRefused()
  return row
}

export function spendClaim(database: DatabaseSync, name: string, now: string, certificate: string): void {
  database.prepare('UPDATE claims SET claimed_at = ?, certificate = ? WHERE name = ?').run(now, certificate, name)
}

export const claimRefused = (): FaultlineError =>
  new FaultlineError('CLAIM_REFUSED', 'this name and token claim nothing: wrong, expired or used already')
