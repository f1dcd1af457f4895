import type { Alarm, AlarmState } from '@faultline/protocol'

/**
 * The transitions of one alarm after ISA-18.2 (IEC 62682, 5.2.3): raised unacknowledged; acknowledged while it lasts;
 * back to normal, at once if it was acknowledged and otherwise only once it is. Each function returns a new alarm.
 */
export type AlarmName = Pick<Alarm, 'site' | 'machine' | 'fault'>
export type Evidence = Alarm['evidence'][number]

/** As many windows as the contract lets an alarm carry. */
export const maxEvidence = 20

/** The fault is there. */
export const isActive = (alarm: Alarm): boolean => alarm.state === 'unacknowledged' || alarm.state === 'acknowledged'

/** Taken out of service by a person or by design; windows do not move it. */
export const isOutOfService = (alarm: Alarm): boolean => alarm.state === 'shelved' || alarm.state === 'suppressed'

/** Somebody still has to look at it. */
export const needsAttention = (alarm: Alarm): boolean =>
  alarm.state === 'unacknowledged' || alarm.state === 'returned-unacknowledged'

export function raise(name: AlarmName, evidence: readonly Evidence[], count: number, now: string): Alarm {
  return {
    site: name.site,
    machine: name.machine,
    fault: name.fault,
    state: 'unacknowledged',
    acknowledged: false,
    since: now,
    at: now,
    count,
    evidence: evidence.slice(-maxEvidence),
  }
}

/** The machine shows the fault no more. */
export const returnToNormal = (alarm: Alarm, now: string): Alarm =>
  enter(alarm, alarm.acknowledged ? 'normal' : 'returned-unacknowledged', now)

/** Somebody has seen it. Undefined when there is nothing to acknowledge. */
export function acknowledge(alarm: Alarm, now: string): Alarm | undefined {
  if (!needsAttention(alarm)) return undefined
  return { ...enter(alarm, isActive(alarm) ? 'acknowledged' : 'normal', now), acknowledged: true }
}

const enter = (alarm: Alarm, state: AlarmState, now: string): Alarm => ({ ...alarm, state, since: now, at: now })
