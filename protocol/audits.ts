import { betaQuantile } from './beta.ts'
import type { Inference } from './payloads/inference.ts'

/**
 * What a server made of a window that was accepted and sent all the same. `normal-confirmed` and `missed-fault`: it had
 * been accepted as normal, and the server agrees or sees a fault. `confirmed` and `misnamed`: it had been accepted as a
 * fault, and the server agrees or says anything else.
 */
export const auditFindings = ['normal-confirmed', 'missed-fault', 'confirmed', 'misnamed'] as const
export type AuditFinding = (typeof auditFindings)[number]

/** The finding for an accepted label. Without a class that means nothing is wrong, no window is accepted as normal. */
export function auditFinding(accepted: string, verdict: string, normal: string | undefined): AuditFinding {
  const agrees = accepted === verdict
  if (accepted === normal) return agrees ? 'normal-confirmed' : 'missed-fault'
  return agrees ? 'confirmed' : 'misnamed'
}

/**
 * The finding of an inference, with the window it is about: a verdict after the deadline comes as a revision, under
 * another id. Undefined for a window that was not audited, and for an audit that nobody answered.
 */
export function findingOf(
  { id, revises, reason, local, episode, server }: Inference,
  normal: string | undefined,
): { window: string; finding: AuditFinding } | undefined {
  if (reason !== 'audit' || !server) return undefined
  return { window: revises ?? id, finding: auditFinding((episode ?? local).label, server.label, normal) }
}

/** Answered audits, by what they found. */
export interface AuditCounts {
  /** All of them. */
  audits: number
  /** Those of windows that had been accepted as normal. */
  silent: number
  /** Of the silent ones: the server sees a fault. */
  missed: number
  /** Of all: the server's label is another. */
  wrong: number
}

export const noAudits: AuditCounts = { audits: 0, silent: 0, missed: 0, wrong: 0 }

/** The counts with so many more audits of one finding. */
export function withFinding(counts: AuditCounts, finding: AuditFinding, times = 1): AuditCounts {
  const silent = finding === 'normal-confirmed' || finding === 'missed-fault'
  return {
    audits: counts.audits + times,
    silent: counts.silent + (silent ? times : 0),
    missed: counts.missed + (finding === 'missed-fault' ? times : 0),
    wrong: counts.wrong + (finding === 'missed-fault' || finding === 'misnamed' ? times : 0),
  }
}

/** What health, telemetry and the dashboard say of audits: the confidence of every bound. */
export const auditConfidence = 0.95

/** At most this share of the windows accepted as normal hides a fault, at 95 %. 1 before the first audit. */
export const missedAtMost = ({ missed, silent }: Pick<AuditCounts, 'missed' | 'silent'>): number =>
  upperBound(missed, silent)

/**
 * The one-sided upper bound at 95 % on a share of which `hits` of `draws` were seen: the exact binomial one of Clopper &
 * Pearson (Biometrika 26, 1934), 1 - 0.05^(1/draws) when nothing was seen.
 */
export function upperBound(hits: number, draws: number): number {
  return hits >= draws ? 1 : betaQuantile(auditConfidence, hits + 1, draws - hits)
}
