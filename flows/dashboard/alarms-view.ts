import type { Alarm, Message, TopicAddress } from '@faultline/protocol'
import type { AlarmRow } from '@faultline/telemetry'
import { isActive, isOutOfService, needsAttention } from '../alarms/lifecycle.ts'
import { RecentMap } from '../recent-map.ts'
import { type AlarmEvent, AlarmHistory, rowOf } from './alarm-history.ts'
import { type AlarmLine, alarmKey, byUrgency, isStanding, lineOf, rankOf } from './alarm-line.ts'
import { type Listing, type Look, pageOf } from './look.ts'

/** Names of alarms come in messages; those that stand go last. */
const mostAlarms = 20_000
/** Alarms whose past is kept, of those heard of or opened last. */
const mostHistories = 2_000

/** How the page groups alarms. `standing` is what it begins with. */
const groups = {
  unacknowledged: needsAttention,
  active: isActive,
  shelved: isOutOfService,
  over: alarm => !isStanding(alarm),
  all: () => true,
} as const satisfies Readonly<Record<string, (alarm: Alarm) => boolean>>

type Group = keyof typeof groups
const groupNames = Object.keys(groups) as Group[]

export type AlarmsParts = {
  counts: Readonly<Record<Group | 'standing', number>>
  sites: string[]
  open: OpenAlarm | null
  /** Alarms that fit the look, and which of them the rows begin with. */
  matching: number
  from: number
}

export interface OpenAlarm {
  alarm: AlarmLine
  /** Where the fault was seen and is not over. */
  points: string[]
  /** The windows that raised it, newest first. */
  evidence: Alarm['evidence']
  /** Newest first. */
  history: AlarmEvent[]
  /** Why the history begins with what was heard since the flows run; absent where the store gave the rest. */
  incomplete?: string
}

/** Every alarm and what happened to it. Pure: no clock, no timers, no MQTT. */
export class AlarmsView {
  private readonly alarms = new RecentMap<Alarm>({ limit: mostAlarms, isHeld: isStanding })
  private readonly histories = new RecentMap<AlarmHistory>({ limit: mostHistories, isHeld: () => false })
  /** Of alarms whose past was asked for: what kept the store from telling, nothing where it did. */
  private readonly asked = new RecentMap<{ problem?: string }>({ limit: mostHistories, isHeld: () => false })

  apply(message: Message): void {
    if (message.kind !== 'alarm') return
    const alarm = message.payload
    const key = alarmKey(alarm)
    this.alarms.set(key, alarm)
    this.history(key).add([rowOf(alarm)])
  }

  clear(address: TopicAddress): void {
    if (address.kind === 'alarm') this.alarms.delete(alarmKey(address))
  }

  /** Whether a store could say more of the alarm than the view knows. */
  lacksPast(key: string): boolean {
    const asked = this.asked.get(key)
    return this.alarms.get(key) !== undefined && (asked === undefined || asked.problem !== undefined)
  }

  /** What a store says of the past of an alarm, or why it does not. */
  remember(key: string, past: readonly AlarmRow[] | { problem: string }): void {
    if ('problem' in past) {
      this.asked.set(key, past)
    } else {
      this.asked.set(key, {})
      this.history(key).add(past)
    }
  }

  show(look: Look): { rows: AlarmLine[]; parts: AlarmsParts } {
    const all = [...this.alarms.values()]
    const standing = all.filter(isStanding)
    const { items, from, matching } = pageOf(look.show === '' ? standing : all, look, listing)
    const counted = groupNames.map(group => [group, all.filter(groups[group]).length])
    return {
      rows: items.map(lineOf),
      parts: {
        counts: { standing: standing.length, ...(Object.fromEntries(counted) as Record<Group, number>) },
        sites: [...new Set(all.map(({ site }) => site))].sort(),
        open: this.open(look.open),
        matching,
        from,
      },
    }
  }

  private open(key: string): OpenAlarm | null {
    const alarm = this.alarms.get(key)
    if (!alarm) return null
    const asked = this.asked.get(key)
    return {
      alarm: lineOf(alarm),
      points: (alarm.points ?? []).map(({ device, point }) => `${device} / ${point}`),
      evidence: alarm.evidence.toReversed(),
      history: this.history(key).events(),
      ...(asked?.problem !== undefined && { incomplete: asked.problem }),
    }
  }

  private history(key: string): AlarmHistory {
    return this.histories.reach(key, () => new AlarmHistory())
  }
}

const isGroup = (name: string): name is Group => Object.hasOwn(groups, name)

const listing: Listing<Alarm> = {
  text: ({ site, machine, fault, state, priority, action }) =>
    [site, machine, fault, state, priority, action?.by ?? '', action?.comment ?? ''].join(' '),
  site: ({ site }) => site,
  shows: (alarm, group) => !isGroup(group) || groups[group](alarm),
  columns: {
    priority: rankOf,
    machine: ({ site, machine }) => `${machine} ${site}`,
    fault: ({ fault }) => fault,
    state: ({ state }) => state,
    since: ({ since }) => since,
    count: ({ count }) => count,
  },
  order: byUrgency,
}
