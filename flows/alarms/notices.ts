import { type Alarm, FaultlineError } from '@faultline/protocol'

/**
 * Who is told of an alarm that nobody has acknowledged. Each person in turn, once and `repeats` times more, `repeatS` apart;
 * then the next. After the last the notices end: the alarm stays where it is seen.
 */
export interface NoticePolicy {
  /** In the order in which they are told: addresses, names, whatever the flow behind makes of it. */
  contacts: readonly string[]
  /** Between two notices of one alarm, in seconds, however often it comes and goes. */
  repeatS: number
  repeats: number
}

export const noNotices: NoticePolicy = { contacts: [], repeatS: 600, repeats: 2 }

export interface Notice {
  to: string
  /** 1 for the first since the alarm was raised and not acknowledged. */
  count: number
  /** True when it is not the first person who is told. */
  escalated: boolean
}

/** Throws `CONFIG_INVALID`. */
export function checkNotices({ contacts, repeatS, repeats }: NoticePolicy): void {
  const fail = (what: string): never => {
    throw new FaultlineError('CONFIG_INVALID', `notices: ${what}`)
  }
  if (contacts.some(to => to.length === 0 || to.length > 254)) fail('a contact must have 1 to 254 characters')
  if (!Number.isInteger(repeats) || repeats < 0 || repeats > 1_000) fail('repeats must be a whole number, 0 to 1000')
  if (!(repeatS > 0 && repeatS <= 604_800)) fail('the seconds between two notices must be above 0, up to a week')
}

/** The notice that comes next, and when (ms since 1970). Undefined when nobody is to be told. */
export function nextNotice(alarm: Alarm, policy: NoticePolicy): (Notice & { at: number }) | undefined {
  if (alarm.state !== 'unacknowledged') return undefined
  const { count, at } = alarm.notified ?? { count: 0 }
  const turn = Math.floor(count / (1 + policy.repeats))
  const to = policy.contacts[turn]
  if (to === undefined) return undefined
  // The first is due at once.
  const due = at === undefined ? 0 : Date.parse(at) + policy.repeatS * 1_000
  return { to, count: count + 1, escalated: turn > 0, at: due }
}

export const withNotice = (alarm: Alarm, { to, count }: Notice, now: string): Alarm => ({
  ...alarm,
  at: now,
  notified: { to, count, at: now },
})
