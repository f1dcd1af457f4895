import { userInfo } from 'node:os'
import type { DatabaseSync } from '@faultline/runtime'

export type AuditAction =
  | 'enrolled'
  | 're-enrolled'
  | 'certified'
  | 'claimed'
  | 'renewed'
  | 'rotated'
  | 'packaged'
  | 'revoked'
  | 'authority-created'
  | 'server-certified'
  | 'rollover-begun'
  | 'rollover-switched'
  | 'rollover-finished'
  | 'exported'
  | 'imported'
  | 'rolled-out'
  | 'artifact-added'
  | 'rollout-paused'
  | 'rollout-resumed'
  | 'rollout-aborted'
  | 'rollout-ended'

/** One state change. */
export interface AuditEntry {
  /** ISO 8601. */
  at: string
  action: AuditAction
  /** The identity; for what concerns all of them `registry`. */
  name: string
  /**
   * The user of the operating system who made it; for what a device does itself its name and address, for what is asked for over
   * the broker who asked.
   */
  actor: string
  detail?: string
}

export interface AuditFilter {
  name?: string | undefined
  /** ISO 8601. */
  since?: string | undefined
  /** The newest so many; all when absent. */
  limit?: number | undefined
}

/** Writes an entry, within the transaction of the change it tells of. */
export function recordChange(
  database: DatabaseSync,
  { at, action, name, actor = osUser(), detail }: Omit<AuditEntry, 'actor'> & { actor?: string | undefined },
): void {
  database
    .prepare('INSERT INTO audit_log (at, action, name, actor, detail) VALUES (?, ?, ?, ?, ?)')
    .run(at, action, name, actor, detail ?? null)
}

/** Oldest first. */
export function readChanges(database: DatabaseSync, { name, since, limit }: AuditFilter = {}): AuditEntry[] {
  const rows = database
    .prepare(
      `SELECT at, action, name, actor, detail FROM (
         SELECT * FROM audit_log WHERE (?1 IS NULL OR name = ?1) AND (?2 IS NULL OR at >= ?2)
         ORDER BY sequence DESC LIMIT ?3) ORDER BY sequence`,
    )
    .all(name ?? null, since ?? null, limit ?? -1) as unknown as (AuditEntry & { detail: string | null })[]
  return rows.map(({ detail, ...entry }) => ({ ...entry, ...(detail !== null && { detail }) }))
}

/** Who runs this process. */
export function osUser(): string {
  try {
    return userInfo().username
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}` // A container may have no entry for its user.
  }
}
