import { readFileSync } from 'node:fs'
import type { Health, Problem } from '@faultline/protocol'
import { rounded } from '../decisions/assessment.ts'
import type { AuditKeeper } from '../decisions/audit-keeper.ts'
import type { WindowFlow } from '../decisions/window-flow.ts'
import type { ByteBudget } from '../link/byte-budget.ts'
import type { EnergyEstimate } from '../link/energy.ts'
import type { Pricing } from '../link/pricing.ts'
import type { SensorState } from '../sensors/sensor-watch.ts'
import type { Outbox } from '../spool/outbox.ts'
import type { TieredSpool } from '../spool/tiered-spool.ts'

export interface HealthParts {
  startedAt: number
  flow: WindowFlow
  audits: AuditKeeper
  spool: TieredSpool
  outbox: Outbox
  pricing: Pricing
  budget: ByteBudget
  overruns: number
  /** Messages that held no samples. */
  foreign: number
  bytes: { sent: number; received: number }
  errors: number
  energy?: EnergyEstimate
  /** Sensors that are at fault. */
  sensors: readonly SensorState[]
  /** What is wrong with the device itself. */
  problems: readonly Problem[]
}

/** How the agent is doing. Everything counts from the agent's start, except what audits found. */
export function healthOf(parts: HealthParts): Health {
  const {
    startedAt,
    flow,
    audits,
    spool,
    outbox,
    pricing,
    budget,
    overruns,
    foreign,
    bytes,
    errors,
    energy,
    sensors,
    problems,
  } = parts
  const roundTripMs = flow.roundTrips.summary
  const price = pricing.report
  const spent = budget.report
  const { setAside, inMemory } = spool
  const temperatureC = processorTemperature()
  return {
    at: new Date().toISOString(),
    uptimeS: Math.round((performance.now() - startedAt) / 100) / 10,
    counters: flow.counters.snapshot(),
    audits: flow.audits,
    audited: audits.accounts,
    ...(sensors.length > 0 && { points: [...sensors] }),
    ...(problems.length > 0 && { problems: [...problems] }),
    revisions: flow.revisions,
    errors,
    overruns,
    ...(foreign > 0 && { foreign }),
    queues: {
      spool: spool.size,
      pending: flow.pending,
      dropped: outbox.dropped,
      ...(setAside > 0 && { setAside }),
      ...(inMemory > 0 && { inMemory }),
    },
    ...(roundTripMs && { roundTripMs }),
    ...(flow.counters.sent > 0 && {
      servers: {
        reachable: flow.reach.reachable,
        answeredShare: rounded(flow.reach.answeredShare),
        deadlineMs: flow.deadlineMs,
      },
    }),
    bytes: { sent: bytes.sent, escalations: flow.bytes.escalated, received: bytes.received },
    ...(price && { price }),
    ...(spent && { budget: spent }),
    ...(energy && {
      energyJ: rounded(energy.total(flow.counters.snapshot().windows, bytes.sent, pricing.joulesPerByte)),
    }),
    memoryBytes: process.memoryUsage.rss(),
    ...(temperatureC !== undefined && { temperatureC }),
  }
}

/** Of a Raspberry Pi and most other Linux boards; undefined where there is no such sensor. */
function processorTemperature(): number | undefined {
  try {
    const millidegrees = Number(readFileSync('/sys/class/thermal/thermal_zone0/temp', 'utf8'))
    return Number.isFinite(millidegrees) ? Math.round(millidegrees / 100) / 10 : undefined
  } catch {
    return undefined
  }
}
