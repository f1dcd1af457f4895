import type { Alarm } from '@faultline/protocol'

type Names<Key extends string> = Readonly<Record<Exclude<Key, 'other'> | 'other', string>>

/** What people read for a state of an alarm, on every page, in mails and at nodes. The states are those of ISA-18.2. */
export const alarmStateNames: Names<Alarm['state']> = {
  normal: 'Over',
  unacknowledged: 'Unacknowledged',
  acknowledged: 'Acknowledged',
  'returned-unacknowledged': 'Returned, unacknowledged',
  shelved: 'Shelved',
  suppressed: 'Suppressed',
  other: 'In a state that only a later version knows',
}

/** What people read for what somebody did with an alarm. */
export const alarmActionNames: Names<NonNullable<Alarm['action']>['name']> = {
  acknowledge: 'Acknowledged',
  shelve: 'Shelved',
  unshelve: 'Unshelved',
  suppress: 'Suppressed',
  unsuppress: 'Unsuppressed',
  comment: 'Comment',
  other: 'Changed',
}
