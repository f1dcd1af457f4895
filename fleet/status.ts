import type { Counters } from '@faultline/protocol'

/** One machine as it stands now. */
export interface MachineStatus {
  machine: string
  windows: number
  accepted: number
  escalated: number
  /** Escalations answered in time. */
  verdicts: number
  /** Median from escalation to verdict. */
  roundTripMs?: number
  /** Bytes the device did not send because it accepted its own answer. */
  bytesSaved: number
  /** The last final answer. */
  label?: string
  alarms: string[]
}

/** The fleet as it stands now. */
export interface FleetStatus {
  elapsedS: number
  counters: Counters
  bytesSaved: number
  bytesIfAllEscalated: number
  alarms: number
  machines: MachineStatus[]
}

export const noWindows: Counters = {
  windows: 0,
  accepted: 0,
  answered: 0,
  late: 0,
  rejected: 0,
  offline: 0,
  withheld: 0,
  pending: 0,
}

/** Adds counters up, so that the sum of the sums holds too. */
export function addCounters(all: readonly Counters[]): Counters {
  const total = { ...noWindows }
  for (const counters of all) for (const key of Object.keys(total) as (keyof Counters)[]) total[key] += counters[key]
  return total
}
