import { setImmediate } from 'node:timers/promises'
import { createPolicy, type Policy, type PolicyModel, pooled } from '@faultline/inference'
import { aligned } from '../report/terminal.ts'
import { calibrated, shuffled, trustFrom } from './evaluation.ts'
import { type Mean, meanOf } from './interval.ts'
import { replay } from './replay.ts'
import type { Trace } from './trace.ts'

/** Windows that every device of a pool has seen, and that the new device is watched for. */
const WINDOWS = 1_000
const FIRST = 500

/** Those whose evidence adds up. */
export const poolablePolicies = ['default', 'hi-lcb', 'hi-lcb-lite'] as const

export interface PoolOptions {
  /** Devices that learned before; 0 is a cold start. */
  devices: readonly number[]
  prices: readonly number[]
  seeds: number
  /** Share of the windows that is labelled beforehand and only calibrates. */
  calibrate: number
  onProgress?: (done: number, total: number) => void
}

/** How a new device begins after others have learned: means over the shuffles. */
export interface PoolFigures {
  policy: string
  price: number
  devices: number
  /** Escalations of the new device among its first 500 and 1,000 windows. */
  escalatedOf500: Mean
  escalatedOf1000: Mean
  /** Cost per window over the 1,000. */
  cost: Mean
}

/**
 * Deals the windows of a trace to devices, no window to two, lets all but the last learn, and hands the pool to the
 * last. Undefined where the trace has too few windows for so many devices.
 */
export async function evaluatePool(trace: Trace, options: PoolOptions): Promise<PoolFigures[] | undefined> {
  const { devices, prices, seeds, calibrate, onProgress } = options
  const most = Math.max(...devices)
  const labelledCount = Math.round(calibrate * trace.rows.length)
  if (labelledCount + (most + 1) * WINDOWS > trace.rows.length) return undefined
  const tallies = new Map<string, { first: number; all: number; cost: number }[]>()
  let done = 0
  for (let seed = 0; seed < seeds; seed++) {
    const rows = shuffled(trace.rows, seed)
    const labelled = rows.slice(0, labelledCount)
    const model: PolicyModel =
      labelled.length > 0 ? { calibration: calibrated(labelled, trace).model, server: trustFrom(labelled, trace) } : {}
    const hand = (device: number) =>
      rows.slice(labelledCount + device * WINDOWS, labelledCount + (device + 1) * WINDOWS)
    for (const price of prices)
      for (const policy of poolablePolicies) {
        const evidence = Array.from({ length: most }, (_, device) => {
          const other = createPolicy({ name: policy }, model, seed * (most + 1) + device + 1)
          replay(other, hand(device), price, trace)
          return other.evidence!()
        })
        for (const count of devices) {
          const fresh = createPolicy({ name: policy }, model, seed * (most + 1))
          const pool = pooled(evidence.slice(0, count).filter(part => part !== undefined))
          if (pool) fresh.adopt!(pool)
          const key = `${policy} ${price} ${count}`
          tallies.set(key, [...(tallies.get(key) ?? []), watch(fresh, hand(most), price, trace)])
        }
        onProgress?.(++done, seeds * prices.length * poolablePolicies.length)
        await setImmediate()
      }
  }
  return poolablePolicies.flatMap(policy =>
    prices.flatMap(price =>
      devices.map(count => {
        const found = tallies.get(`${policy} ${price} ${count}`)!
        return {
          policy,
          price,
          devices: count,
          escalatedOf500: meanOf(found.map(({ first }) => first)),
          escalatedOf1000: meanOf(found.map(({ all }) => all)),
          cost: meanOf(found.map(({ cost }) => cost)),
        }
      }),
    ),
  )
}

function watch(policy: Policy, rows: Trace['rows'], price: number, trace: Trace) {
  const begin = replay(policy, rows.slice(0, FIRST), price, trace)
  const rest = replay(policy, rows.slice(FIRST), price, trace)
  const share = FIRST / rows.length
  return {
    first: begin.escalated * FIRST,
    all: begin.escalated * FIRST + rest.escalated * (rows.length - FIRST),
    cost: share * begin.cost + (1 - share) * rest.cost,
  }
}

/** For a terminal. */
export function poolTable(name: string, figures: readonly PoolFigures[]): string {
  const header = ['policy', 'price', 'devices', 'asked of 500', 'of 1000', 'cost']
  const rows = figures.map(({ policy, price, devices, escalatedOf500, escalatedOf1000, cost }) => [
    policy,
    String(price),
    String(devices),
    escalatedOf500.value.toFixed(0),
    escalatedOf1000.value.toFixed(0),
    cost.value.toFixed(4),
  ])
  const lines = aligned([header, ...rows])
  return `${name}: a new device after others have seen ${WINDOWS.toLocaleString('en')} windows each\n${lines}\n`
}
