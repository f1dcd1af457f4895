import type { CommissioningResult } from './commissioning.ts'
import type { SplitCurves } from './curves.ts'
import { splitNames } from './folds.ts'
import { ALL_FOLDS, type Row } from './rows.ts'

/** What was aimed at, what came out, and by how much it was missed. */
export interface Aim {
  aim: string
  measured: string
  met: boolean
  /** Empty when met. */
  missedBy: string
}

const SERVER_ACCURACY = 0.99
const ACCURACY_GAP = 0.005
const ESCALATED = 0.25
const DELAY_SECONDS = 1

/** The aims that these rows and results say something about. */
export function aimsOf(
  rows: readonly Row[],
  curves: readonly SplitCurves[],
  commissioning: readonly CommissioningResult[],
): Aim[] {
  const load = (method: Row['method']) =>
    rows.find(row => row.split === splitNames.load && row.fold === ALL_FOLDS && row.method === method)
  const [server, both] = [load('server'), load('hierarchical')]
  const aims: Aim[] = []
  if (server?.accuracy && both?.accuracy) {
    const gap = server.accuracy.value - both.accuracy.value
    const curve = curves.find(each => each.split === splitNames.load)?.escalation ?? []
    const reachable = Math.max(...curve.filter(point => point.x <= ESCALATED).map(point => point.y))
    aims.push(
      aim('Leave one load out: server at least 99 %', server.accuracy.value - SERVER_ACCURACY, {
        measured: percent(server.accuracy.value),
        unit: points,
      }),
      aim('Leave one load out: both together within 0.5 points of the server', ACCURACY_GAP - gap, {
        measured: `${signed(gap)}; the best price in hindsight at 25 %: ${signed(server.accuracy.value - reachable)}`,
        unit: points,
      }),
      aim('Leave one load out: at most 25 % escalated', ESCALATED - both.escalated, {
        measured: percent(both.escalated),
        unit: points,
      }),
    )
  }
  for (const { speed, faults, rest } of commissioning) {
    const worst = Math.max(...faults.map(fault => fault.worstDelaySeconds ?? Number.POSITIVE_INFINITY))
    aims.push(
      aim(`Commissioning, ${speed}: every fault within 1 s`, DELAY_SECONDS - worst, {
        measured: Number.isFinite(worst) ? `${worst.toFixed(1)} s at worst` : 'one never found',
        unit: value => `${value.toFixed(1)} s`,
      }),
      aim(`Commissioning, ${speed}: no false alarm in the rest of the normal run`, -rest.windows, {
        measured: `${rest.windows} of ${rest.of} windows (at most ${Math.round(rest.perHourAtMost)} an hour)`,
        unit: value => `${value} windows`,
      }),
    )
  }
  return aims
}

/** `margin` is how far on the right side the measurement is; negative when missed. */
function aim(
  text: string,
  margin: number,
  { measured, unit }: { measured: string; unit: (value: number) => string },
): Aim {
  const met = margin >= 0
  return { aim: text, measured, met, missedBy: met ? '' : unit(-margin) }
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`
}

/** `2.0 points below`, the server being the measure. */
function signed(gap: number): string {
  return gap >= 0 ? `${points(gap)} below` : `${points(-gap)} above`
}

function points(share: number): string {
  return `${(100 * share).toFixed(1)} points`
}
