import { type Alarm, alarmPriorities } from '@faultline/protocol'
import { isActive, needsAttention } from '../alarms/lifecycle.ts'
import { compareTexts } from './look.ts'

/** An alarm as a page shows it: without the windows behind it but the newest. */
export type AlarmLine = Omit<Alarm, 'evidence' | 'at' | 'points' | 'acknowledged'> & {
  key: string
  /** Windows that raised it. */
  evidence: number
  newest?: Pick<Alarm['evidence'][number], 'device' | 'point' | 'confidence' | 'decidedBy'>
}

export const alarmKey = ({ site, machine, fault }: Pick<Alarm, 'site' | 'machine' | 'fault'>): string =>
  `${site}/${machine}/${fault}`

export function lineOf(alarm: Alarm): AlarmLine {
  const { evidence, at: _at, points: _points, acknowledged: _acknowledged, ...rest } = alarm
  const newest = evidence.at(-1)
  return {
    key: alarmKey(alarm),
    ...rest,
    evidence: evidence.length,
    ...(newest && {
      newest: {
        device: newest.device,
        point: newest.point,
        confidence: newest.confidence,
        decidedBy: newest.decidedBy,
      },
    }),
  }
}

/** An alarm that is over and has been seen is no news. */
export const isStanding = (alarm: Alarm): boolean => alarm.state !== 'normal'

const urgency = (alarm: Alarm): number => (isActive(alarm) ? 2 : 0) + (needsAttention(alarm) ? 1 : 0)

/** Place of an alarm's priority, the most urgent first. One that this version does not know comes first: it may be urgent. */
export const rankOf = ({ priority }: Pick<Alarm, 'priority'>): number =>
  priority === 'other' ? -1 : alarmPriorities.indexOf(priority)

/** Most urgent first: what is there before what is gone, what nobody has seen, by priority, the newest. */
export const byUrgency = (a: Alarm, b: Alarm): number =>
  urgency(b) - urgency(a) ||
  rankOf(a) - rankOf(b) ||
  Date.parse(b.since) - Date.parse(a.since) ||
  compareTexts(alarmKey(a), alarmKey(b))
