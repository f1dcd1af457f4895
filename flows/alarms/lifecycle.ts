import type { Alarm, AlarmAction, AlarmPriority, AlarmState, Suppression } from '@faultline/protocol'

/**
 * The transitions of one alarm after ISA-18.2 (IEC 62682, 5.2.3): raised unacknowledged; acknowledged while it lasts;
 * back to normal, at once if it was acknowledged and otherwise only once it is. Shelved, suppressed by design or out of
 * service from any state; back from there to unacknowledged if the fault is there, and else to normal.
 * Each function returns a new alarm, or undefined where the transition does not exist.
 */
export type AlarmName = Pick<Alarm, 'site' | 'machine' | 'fault'>
export type Evidence = Alarm['evidence'][number]

/** As many windows as the contract lets an alarm carry. */
export const maxEvidence = 20

/** It is indicated: the fault is there, and nobody has taken the alarm out of sight. */
export const isActive = (alarm: Pick<Alarm, 'state'>): boolean =>
  alarm.state === 'unacknowledged' || alarm.state === 'acknowledged'

/** Taken out of sight by a person or by design. */
export const isOutOfService = (alarm: Pick<Alarm, 'state'>): boolean =>
  alarm.state === 'shelved' || alarm.state === 'suppressed'

/** The fault is there, indicated or not. */
export const isPresent = (alarm: Alarm): boolean => isActive(alarm) || alarm.suppression?.active === true

/** Somebody still has to look at it. */
export const needsAttention = (alarm: Pick<Alarm, 'state'>): boolean =>
  alarm.state === 'unacknowledged' || alarm.state === 'returned-unacknowledged'

/** An alarm that was never raised. */
export const quiet = ({ site, machine, fault }: AlarmName, priority: AlarmPriority, now: string): Alarm => ({
  site,
  machine,
  fault,
  state: 'normal',
  priority,
  acknowledged: true,
  since: now,
  at: now,
  count: 0,
  evidence: [],
})

/** The fault is there. Out of sight the alarm stays so, and remembers. */
export function raise(before: Alarm, evidence: readonly Evidence[], count: number, now: string): Alarm {
  const seen = { ...before, count, evidence: evidence.slice(-maxEvidence), at: now }
  if (before.suppression) return { ...seen, suppression: { ...before.suppression, active: true } }
  return announce(seen, now)
}

/** The machine shows the fault no more. */
export function returnToNormal(alarm: Alarm, now: string): Alarm {
  if (alarm.suppression) return { ...alarm, suppression: { ...alarm.suppression, active: false }, at: now }
  return enter(alarm, alarm.acknowledged ? 'normal' : 'returned-unacknowledged', now)
}

/** Somebody has seen it. */
export function acknowledge(alarm: Alarm, now: string): Alarm | undefined {
  if (!needsAttention(alarm)) return undefined
  return { ...enter(alarm, isActive(alarm) ? 'acknowledged' : 'normal', now), acknowledged: true }
}

/** Out of sight until a time, or until `restore`. An alarm that is out of sight already may be so in another way. */
export function suppress(alarm: Alarm, kind: Suppression, now: string, until?: string): Alarm {
  const suppression = { kind, active: isPresent(alarm), ...(until !== undefined && { until }) }
  return { ...enter(alarm, kind === 'shelved' ? 'shelved' : 'suppressed', now), suppression }
}

/** Back in sight. */
export function unsuppress(alarm: Alarm, now: string): Alarm | undefined {
  const { suppression, ...rest } = alarm
  if (!isOutOfService(alarm)) return undefined
  return suppression?.active ? announce(rest, now) : { ...enter(rest, 'normal', now), acknowledged: true }
}

/**
 * The clock was set: shelving, and the pause since a notice, last as long as they would have. By a clock that was wrong before a
 * restart neither may last for years: no longer than an alarm can be shelved, and no longer than a pause from now.
 */
export function shifted(alarm: Alarm, ms: number, maxShelfS: number, now: Date): Alarm {
  const { suppression, notified } = alarm
  const upTo = (time: string, latest: number) => new Date(Math.min(Date.parse(time) + ms, latest)).toISOString()
  return {
    ...alarm,
    ...(suppression?.until !== undefined && {
      suppression: { ...suppression, until: upTo(suppression.until, now.getTime() + maxShelfS * 1_000) },
    }),
    ...(notified && { notified: { ...notified, at: upTo(notified.at, now.getTime()) } }),
  }
}

/** Writes down what a person did. */
export const withAction = (alarm: Alarm, name: AlarmAction, now: string, { by, comment }: ActionDetails): Alarm => ({
  ...alarm,
  at: now,
  action: { name, at: now, ...(by !== undefined && { by }), ...(comment !== undefined && { comment }) },
})

export interface ActionDetails {
  by?: string
  comment?: string
}

const enter = (alarm: Alarm, state: AlarmState, now: string): Alarm => ({ ...alarm, state, since: now, at: now })

/** Those who were told of an alarm that nobody has acknowledged are not told anew because it comes and goes. */
function announce({ notified, ...alarm }: Alarm, now: string): Alarm {
  const isNew = alarm.acknowledged || alarm.state === 'shelved' || alarm.state === 'suppressed'
  return {
    ...enter(alarm, 'unacknowledged', now),
    acknowledged: false,
    ...(notified && { notified: isNew ? { ...notified, count: 0 } : notified }),
  }
}
