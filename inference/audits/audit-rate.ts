import { auditConfidence, FaultlineError } from '@faultline/protocol'

export interface AuditTarget {
  /** The share of windows accepted as normal that may hide a fault, above 0 and below 1. */
  missedFaultsAtMost: number
  /** So soon the audits of a machine are to say so, in days. */
  withinDays: number
}

/**
 * Audits that have to find nothing before the exact bound at 95 % is down to the share: ln 0.05 / ln(1 - share), the rule
 * of three without its rounding. Throws `CONFIG_INVALID` for a share that is not between 0 and 1.
 */
export function auditsFor(missedFaultsAtMost: number): number {
  if (!(missedFaultsAtMost > 0 && missedFaultsAtMost < 1))
    throw new FaultlineError('CONFIG_INVALID', `a share above 0 and below 1, not ${missedFaultsAtMost}`)
  return Math.ceil(Math.log(1 - auditConfidence) / Math.log1p(-missedFaultsAtMost) - 1e-9)
}

/**
 * The share of accepted windows to audit so that the bound is reached in time if no audit finds a missed fault. 1 where
 * the machine does not accept so many windows as normal in that time: then even all of them will not do.
 */
export function auditRateFor({ missedFaultsAtMost, withinDays }: AuditTarget, silentPerDay: number): number {
  return Math.min(1, auditsFor(missedFaultsAtMost) / (silentPerDay * withinDays))
}
