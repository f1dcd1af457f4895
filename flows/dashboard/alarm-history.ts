import type { Alarm } from '@faultline/protocol'
import type { AlarmRow } from '@faultline/telemetry'

/** Something that happened to an alarm. */
export interface AlarmEvent {
  at: string
  /** What it was: an action of a person, `raised`, `returned`, `unshelved` by time, or `notified`. */
  what: string
  /** The state after it. */
  state: string
  by?: string
  comment?: string
  /** Who was told. */
  to?: string
  /** That showed the fault by then. */
  windows: number
}

const mostRows = 500

/** An alarm as a message told of it, in the form that a store gives it back. */
export function rowOf(alarm: Alarm): AlarmRow {
  const { site, machine, fault, state, priority, suppression, action, notified } = alarm
  return {
    time: Date.parse(alarm.at),
    site,
    machine,
    fault,
    state,
    priority,
    since: Date.parse(alarm.since),
    windows: alarm.count,
    ...(suppression && { suppression: { kind: suppression.kind, active: suppression.active } }),
    ...(action && {
      action: { name: action.name, at: Date.parse(action.at), by: action.by, comment: action.comment },
    }),
    ...(notified && { notified: { count: notified.count, to: notified.to } }),
  }
}

/** What messages said of one alarm, without those that only count on. */
export class AlarmHistory {
  /** Oldest first. */
  private rows: AlarmRow[] = []

  /** Takes messages in any order, and those it knows again. */
  add(more: readonly AlarmRow[]): void {
    const last = this.rows.at(-1)
    const [only] = more
    if (more.length === 1 && last && only!.time > last.time && signOf(only!) === signOf(last)) return
    const byTime = new Map([...this.rows, ...more].map(row => [row.time, row]))
    const all = [...byTime.values()].sort((a, b) => a.time - b.time)
    this.rows = all.filter((row, i) => i === 0 || signOf(row) !== signOf(all[i - 1]!)).slice(-mostRows)
  }

  /** Newest first. The oldest is only an event if it says itself that it began then. */
  events(): AlarmEvent[] {
    return this.rows.flatMap((row, i) => eventsOf(row, this.rows[i - 1])).reverse()
  }
}

/** What tells one row from the next as a change. */
const signOf = ({ state, since, suppression, action, notified }: AlarmRow): string =>
  JSON.stringify([state, since, suppression?.kind, suppression?.active, action, notified])

function eventsOf(row: AlarmRow, before: AlarmRow | undefined): AlarmEvent[] {
  const { time, state, action, notified, windows } = row
  const common = { at: new Date(time).toISOString(), state, windows }
  const events: AlarmEvent[] = []
  const isAction = action !== undefined && !isSameAction(action, before?.action) && (before || isOf(action.at, time))
  if (isAction) events.push({ ...common, what: action.name, by: action.by, comment: action.comment })
  else if (before ? before.state !== state || before.since !== row.since : isOf(row.since, time))
    events.push({ ...common, what: whatOf(state, before?.state) })
  else if (before?.suppression?.active !== row.suppression?.active)
    events.push({ ...common, what: row.suppression?.active ? 'raised' : 'returned' })
  if (notified && notified.count > 0 && (!before?.notified || notified.count !== before.notified.count))
    events.push({ ...common, what: 'notified', to: notified.to })
  return events
}

const isSameAction = (a: AlarmRow['action'], b: AlarmRow['action']): boolean =>
  a?.name === b?.name && a?.at === b?.at && a?.by === b?.by && a?.comment === b?.comment

/** A row without its time of action was recorded when actions had none. */
const isOf = (at: number | undefined, time: number): boolean => at === undefined || at === time

function whatOf(state: string, before: string | undefined): string {
  if (before === 'shelved' && state !== 'suppressed') return 'unshelved'
  if (before === 'suppressed') return 'unsuppressed'
  return state === 'unacknowledged' ? 'raised' : 'returned'
}
