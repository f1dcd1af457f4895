import type { Method } from '../evaluation/decisions.ts'
import type { Interval } from '../evaluation/intervals.ts'
import type { FalseAlarms } from '../evaluation/rows.ts'

/** How figures are written, the same in terminal and report. */
export const ABSENT = '–'

export const methodNames: Record<Method, string> = {
  local: 'local',
  server: 'server',
  hierarchical: 'both (HI)',
  rms: 'RMS rule',
}

export function percent(share: number | null | undefined, digits = 1): string {
  return share === null || share === undefined ? ABSENT : `${(100 * share).toFixed(digits)} %`
}

/** `96.7 % (92.7–99.6)`; without the brackets where there is no interval. */
export function withInterval(interval: Interval | null): string {
  if (!interval) return ABSENT
  const { value, low, high } = interval
  return low === null || high === null
    ? percent(value)
    : `${percent(value)} (${(100 * low).toFixed(1)}–${(100 * high).toFixed(1)})`
}

export function whole(value: number): string {
  return Math.round(value).toLocaleString('en-GB')
}

/** `0 of 385 (≤ 274/h)`. */
export function alarms(falseAlarms: FalseAlarms | null): string {
  if (!falseAlarms) return ABSENT
  return `${falseAlarms.windows} of ${falseAlarms.of} (≤ ${whole(falseAlarms.perHourAtMost)}/h)`
}
