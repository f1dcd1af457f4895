import { type Classification, classificationOf, type LocalResult, type Policy } from '@faultline/inference'
import { isLocalRight, isRemoteRight, type Trace, type TraceRow } from './trace.ts'

/** What one pass over windows came to, per window. */
export interface Tally {
  /** Wrong final answers plus the price of every escalation. */
  cost: number
  escalated: number
  accuracy: number
  /** Running sums of cost after 1/n, 2/n, … of the windows. */
  course: number[]
}

/** Points of a course. */
export const COURSE_POINTS = 50

/** Shows a policy one window after the other; the verdict on an escalated one arrives before the next. */
export function replay(policy: Policy, rows: readonly TraceRow[], price: number, trace: Trace): Tally {
  return tally(rows, price, decider(policy, price, trace))
}

/** Whether a policy escalates the next window, which it learns from where a device would. */
export function decider(
  policy: Policy,
  price: number,
  { classes }: Pick<Trace, 'classes'>,
): (row: TraceRow) => boolean {
  const verdicts = verdictsOf(classes)
  return row => {
    const { local } = row
    const { action, token } = policy.decide(local, { price })
    const escalated = action === 'escalate'
    // Theory may want the truth of accepted windows too; on a device there is none, and the page says which want it.
    if (escalated || policy.fullFeedback) policy.learn({ local, remote: verdicts[row.remote]!, price, token })
    return escalated
  }
}

/** Costs of windows, each of which is escalated or not. */
export function tally(rows: readonly TraceRow[], price: number, escalates: (row: TraceRow) => boolean): Tally {
  let [cost, escalated, wrong] = [0, 0, 0]
  const course: number[] = []
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!
    const asked = escalates(row)
    const right = asked ? isRemoteRight(row) : isLocalRight(row)
    if (asked) escalated++
    if (!right) wrong++
    cost += (asked ? price : 0) + (right ? 0 : 1)
    while (course.length < COURSE_POINTS && (i + 1) * COURSE_POINTS >= (course.length + 1) * rows.length)
      course.push(cost)
  }
  const count = rows.length
  return { cost: cost / count, escalated: escalated / count, accuracy: 1 - wrong / count, course }
}

/**
 * The single threshold on confidence that would have cost least, known in hindsight: windows below it are escalated.
 * Infinity where escalating all is cheapest; of equally cheap ones, the lowest.
 */
export function bestFixedThreshold(rows: readonly TraceRow[], price: number): number {
  const sorted = [...rows].sort((a, b) => a.local.confidence - b.local.confidence)
  let [cost, best, threshold] = [0, 0, 0]
  for (let i = 0; i < sorted.length; i++) {
    const row = sorted[i]!
    // What escalating everything up to here costs more than escalating nothing.
    cost += price + Number(isLocalRight(row)) - Number(isRemoteRight(row))
    const next = sorted[i + 1]?.local.confidence ?? Number.POSITIVE_INFINITY
    if (next === row.local.confidence || cost >= best) continue
    best = cost
    threshold = next
  }
  return threshold
}

export const below =
  (threshold: number) =>
  ({ local }: { local: LocalResult }): boolean =>
    local.confidence < threshold

function verdictsOf(classes: readonly string[]): Classification[] {
  return classes.map((_, truth) =>
    classificationOf(
      classes,
      classes.map((_, i) => Number(i === truth)),
    ),
  )
}
