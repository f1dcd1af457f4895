import type { AlarmLine } from '../dashboard/alarm-line.ts'

/** Class of a line or card: how much it stands out. */
export function alarmTone({ state }: Pick<AlarmLine, 'state'>): string {
  if (state === 'unacknowledged') return 'is-alarm'
  return state === 'acknowledged' ? 'is-held' : 'is-over'
}
