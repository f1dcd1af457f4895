import { type Health, missedAtMost, type Outcome, type PriceList, type Summary } from '@faultline/protocol'

/** What is known of a device's traffic. */
export interface DeviceTraffic {
  health?: Health
  /** Its price list in force, where it has one. */
  prices?: PriceList | null
}

export interface Traffic {
  windows: number
  escalatedShare: number | null
  /** What the devices sent, and what they would have sent had they escalated every window. */
  bytes: { sent: number; ifAllEscalated: number | null }
  /** J: what devices estimate that they took, and what the windows that were not sent would have taken on their links. */
  energy: { usedJ: number | null; savedJ: number | null }
  roundTripMs: number | null
}

export interface AuditBound {
  silent: number
  missed: number
  /** Share of the windows accepted as normal that hides a fault, at most, at 95 %. */
  missedAtMost: number
}

const escalatedOutcomes: readonly Outcome[] = ['answered', 'late', 'rejected']

/** Whether a window that ended so went up to a server. */
export const isEscalated = (outcome: string): boolean => (escalatedOutcomes as readonly string[]).includes(outcome)

/** Windows of a summary that went up to a server. */
export const escalatedIn = ({ outcomes }: Summary): number =>
  escalatedOutcomes.reduce((sum, outcome) => sum + (outcomes[outcome] ?? 0), 0)

const escalatedOf = ({ counters: c }: Health): number => c.answered + c.late + c.rejected + c.pending

/** From the devices' own counters, which include what was seen before anybody looked. */
export function trafficOf(devices: readonly DeviceTraffic[]): Traffic {
  const healths = devices.flatMap(({ health }) => health ?? [])
  const sum = (read: (health: Health) => number) => healths.reduce((total, health) => total + read(health), 0)
  const windows = sum(({ counters }) => counters.windows)
  const escalated = sum(escalatedOf)
  const sent = sum(({ bytes }) => bytes.sent)
  const escalations = sum(({ bytes }) => bytes.escalations)
  const each = escalated > 0 ? escalations / escalated : null
  const trips = healths.flatMap(({ roundTripMs }) => (roundTripMs?.samples ? roundTripMs.median : []))
  const estimates = healths.flatMap(({ energyJ }) => energyJ ?? [])
  return {
    windows,
    escalatedShare: windows > 0 ? escalated / windows : null,
    bytes: { sent, ifAllEscalated: each === null ? null : Math.round(sent - escalations + each * windows) },
    energy: {
      usedJ: estimates.length > 0 ? estimates.reduce((total, joules) => total + joules, 0) : null,
      savedJ: each === null ? null : savedEnergy(devices, each),
    },
    roundTripMs: trips.sort((a, b) => a - b)[Math.floor(trips.length / 2)] ?? null,
  }
}

/** J, over the devices whose price list says what a byte takes; null where none does. */
function savedEnergy(devices: readonly DeviceTraffic[], bytesEach: number): number | null {
  let saved: number | null = null
  for (const { health, prices } of devices) {
    const joulesPerByte = prices?.links[health?.price?.link ?? prices.link]?.joulesPerByte
    if (!health || !joulesPerByte) continue
    saved = (saved ?? 0) + (health.counters.windows - escalatedOf(health)) * bytesEach * joulesPerByte
  }
  return saved
}

/** What audits found, of several accounts together; null before the first answered one. */
export function auditBound(accounts: readonly { silent: number; missed: number }[]): AuditBound | null {
  const silent = accounts.reduce((sum, account) => sum + account.silent, 0)
  const missed = accounts.reduce((sum, account) => sum + account.missed, 0)
  return silent > 0 ? { silent, missed, missedAtMost: missedAtMost({ silent, missed }) } : null
}
