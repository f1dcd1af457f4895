import { createPolicy, type Policy, Random } from '@faultline/inference'
import { calibrated, shuffled } from '../../lab/trace/evaluation.ts'
import { below, bestFixedThreshold, replay, tally } from '../../lab/trace/replay.ts'
import type { Trace, TraceRow } from '../../lab/trace/trace.ts'

/** A stream that changes in the middle, and what it cost from then on beside the best fixed threshold of the new part. */
export interface Shift {
  name: string
  before: { trace: Trace; price: number }
  after: { trace: Trace; price: number; flipped?: number }
}

export const SETTLING = 2_000
const LENGTH = 4_000
const LABELLED = 1_000

/**
 * Cost over that of the best fixed threshold, from the first window after `SETTLING` windows of the new part to its end,
 * summed over the seeds; and of every 500 windows of the new part.
 */
export function recovery(shift: Shift, seeds: number, warm: boolean): { settled: number; blocks: number[] } {
  const block = 500
  const spent = new Array<number>(LENGTH / block).fill(0)
  const least = new Array<number>(LENGTH / block).fill(0)
  for (let seed = 0; seed < seeds; seed++) {
    const same = shift.before.trace === shift.after.trace
    const first = shuffled(shift.before.trace.rows, seed)
    const second = same ? first.slice(LABELLED + LENGTH) : shuffled(shift.after.trace.rows, seed + 1_000)
    const labelled = first.slice(0, LABELLED)
    const calibration = warm ? calibrated(labelled, shift.before.trace).model : undefined
    const policy: Policy = createPolicy({ name: 'default' }, { calibration }, seed)
    replay(policy, first.slice(LABELLED, LABELLED + LENGTH), shift.before.price, shift.before.trace)
    const { trace, price, flipped = 0 } = shift.after
    const rows = flip(second.slice(0, LENGTH), flipped, trace, seed)
    const best = below(bestFixedThreshold(rows, price))
    for (let i = 0; i < spent.length; i++) {
      const part = rows.slice(i * block, (i + 1) * block)
      spent[i]! += replay(policy, part, price, trace).cost
      least[i]! += tally(part, price, best).cost
    }
  }
  const from = SETTLING / block
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0)
  return {
    settled: sum(spent.slice(from)) / sum(least.slice(from)),
    blocks: spent.map((cost, i) => cost / least[i]!),
  }
}

/** Every shift that a policy has to find its feet after, on each of the traces. */
export function shiftsOf(traces: readonly Trace[], prices: readonly number[]): Shift[] {
  return traces.flatMap(trace => [
    ...prices.map(price => ({
      name: `${trace.name}: a tenth of the labels flipped at ${price}`,
      before: { trace, price },
      after: { trace, price, flipped: 0.1 },
    })),
    ...traces
      .filter(other => other !== trace)
      .flatMap(other =>
        prices.map(price => ({
          name: `${trace.name} becomes ${other.name} at ${price}`,
          before: { trace, price },
          after: { trace: other, price },
        })),
      ),
    ...fivefold.map(([from, to]) => ({
      name: `${trace.name}: price from ${from} to ${to}`,
      before: { trace, price: from },
      after: { trace, price: to },
    })),
  ])
}

const fivefold = [
  [0.05, 0.25],
  [0.25, 0.05],
  [0.06, 0.3],
  [0.3, 0.06],
] as const

function flip(rows: readonly TraceRow[], share: number, { classes }: Trace, seed: number): TraceRow[] {
  const random = new Random(seed + 5)
  return rows.map(row => {
    if (random.uniform() >= share) return row
    const truth = (row.truth + 1 + Math.floor(random.uniform() * (classes.length - 1))) % classes.length
    return { ...row, truth, remote: truth }
  })
}
