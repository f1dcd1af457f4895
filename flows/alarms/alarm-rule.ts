import {
  type Alarm,
  FaultlineError,
  type Inference,
  identifierPattern,
  maxAlarmPoints,
  type Summary,
  unknownLabel,
} from '@faultline/protocol'
import { RecentMap } from '../recent-map.ts'
import { HeldAlarm, pointKey } from './held-alarm.ts'
import { type AlarmName, type Evidence, isActive, isOutOfService, raise } from './lifecycle.ts'
import { mostFrequentFault, type Vote, Votes } from './votes.ts'

export interface AlarmRuleOptions {
  /** The class that means nothing is wrong. */
  normal: string
  /** On when `votes` of the last `windows` of a point say the same fault. */
  on: { votes: number; windows: number }
  /** Off when `votes` of the last `windows` of every point that showed the fault are normal. */
  off: { votes: number; windows: number }
}

export const defaultAlarmRule: AlarmRuleOptions = {
  normal: 'normal',
  on: { votes: 4, windows: 6 },
  off: { votes: 10, windows: 12 },
}

/** Where a window was measured. */
export interface Source {
  site: string
  device: string
  point: string
}

/** `updated`: the state is the same; the count or the points that hold it are not. */
export interface AlarmChange {
  change: 'raised' | 'returned' | 'acknowledged' | 'updated'
  alarm: Alarm
}

interface Machine {
  site: string
  machine: string
  alarms: Map<string, HeldAlarm>
  votes: RecentMap<Votes>
}

/** Names come from payloads; no device may fill the memory with them. */
const limits = { machines: 10_000, pointsPerMachine: maxAlarmPoints, alarmsPerMachine: 64 }

/** A summary of more windows than this is as good as one of so many. */
const maxSummaryVotes = 10_000

/**
 * Turns windows into alarms: at most one per machine and fault, debounced, with its life after ISA-18.2.
 *
 * - Votes are counted per measurement point, so that a healthy sensor cannot outvote one that sits on the fault.
 * - On: N of the last M windows say the same fault. If N of M say some fault but no single one reaches N, and the machine
 *   has no alarm, the fault seen most is raised: a weak record that alternates between two faults must not stay silent.
 * - Off: only normal windows clear an alarm. A machine that now shows another fault is not healthy; both alarms stand.
 * - A revision takes the place of the vote for its window. Windows without a valid answer have no vote, nor have
 *   those from a backlog: later ones of their point were counted already.
 *
 * Pure: no clock, no timers, no MQTT.
 */
export class AlarmRule {
  private readonly options: AlarmRuleOptions
  private readonly machines = new RecentMap<Machine>({
    limit: limits.machines,
    isHeld: ({ alarms }) => [...alarms.values()].some(({ alarm }) => alarm.state !== 'normal'),
  })

  /** Throws `CONFIG_INVALID`. */
  constructor(options: AlarmRuleOptions) {
    checkThreshold('on', options.on)
    checkThreshold('off', options.off)
    const windows = Math.max(options.on.windows, options.off.windows)
    if (options.on.votes + options.off.votes <= windows) {
      throw new FaultlineError(
        'CONFIG_INVALID',
        `an alarm could go on and off at once: the votes for on and off must sum to more than ${windows} windows`,
      )
    }
    this.options = options
  }

  /** Every alarm raised or restored, as it stands now. */
  *alarms(): Generator<Alarm> {
    for (const { alarms } of this.machines.values()) for (const { alarm } of alarms.values()) yield alarm
  }

  /** Takes over an alarm as it stood before a restart; the points that held it hold it until they are normal. */
  restore(alarm: Alarm): void {
    const held = HeldAlarm.restored(alarm)
    const machine = this.machineOf(alarm.site, alarm.machine)
    machine.alarms.set(alarm.fault, held)
    for (const point of [...held.points]) this.votesOf(machine, point)
  }

  /** An alarm was cleared by hand: it is gone, and a new one takes new evidence. Returns false when there was none. */
  forget({ site, machine: name, fault }: AlarmName): boolean {
    const machine = this.machines.get(`${site}/${name}`)
    const held = machine?.alarms.get(fault)
    if (!machine || !held) return false
    for (const point of held.points) machine.votes.get(point)?.clear()
    return machine.alarms.delete(fault)
  }

  /** Counts one window. Throws `IDENTIFIER_INVALID` when its label cannot name an alarm. */
  observe(source: Source, inference: Inference, now: Date): AlarmChange[] {
    if (inference.faults === false || inference.backlog) return []
    const { id, machine: name, label, confidence, decidedBy, at, revises } = inference
    const machine = this.machineOf(source.site, name)
    const votes = this.votesOf(machine, pointKey(source))
    if (revises === undefined && votes.has(id)) return []
    if (confidence === null) {
      if (revises === undefined) votes.abstain(id)
      return []
    }
    const vote: Vote = { id, fault: this.faultOf(label), label, at, confidence, decidedBy }
    if (revises === undefined) {
      votes.add(vote)
      return this.evaluate(machine, source, vote, now)
    }
    const replaced = votes.revise(revises, vote)
    if (!replaced) return []
    if (replaced === 'abstained') return this.evaluate(machine, source, vote, now)
    if (replaced.fault === vote.fault) return []
    return merge([...this.uncount(machine, replaced, now), ...this.evaluate(machine, source, vote, now)])
  }

  /** Counts the windows a device did not publish one by one, spread evenly because their order is not known. */
  observeSummary(source: Source, summary: Summary, now: Date): AlarmChange[] {
    if (summary.faults === false || summary.backlog) return []
    const machine = this.machineOf(source.site, summary.machine)
    const votes = this.votesOf(machine, pointKey(source))
    const changes: AlarmChange[] = []
    const { [unknownLabel]: _, ...labels } = summary.labels
    for (const label of spread(labels, maxSummaryVotes)) {
      const fault = this.faultOf(label)
      const vote: Vote = { fault, label, at: summary.to, confidence: null, decidedBy: 'local' }
      votes.add(vote)
      changes.push(...this.evaluate(machine, source, vote, now))
    }
    return merge(changes)
  }

  /** Undefined when there is nothing to acknowledge. */
  acknowledge(name: AlarmName, now: Date): AlarmChange | undefined {
    const held = this.machines.get(`${name.site}/${name.machine}`)?.alarms.get(name.fault)
    const alarm = held?.acknowledge(now.toISOString())
    return alarm && { change: 'acknowledged', alarm }
  }

  private evaluate(machine: Machine, source: Source, vote: Vote, now: Date): AlarmChange[] {
    const point = pointKey(source)
    const votes = this.votesOf(machine, point)
    for (const held of machine.alarms.values()) if (isActive(held.alarm)) held.hear(point)
    const changes = vote.fault === undefined ? [] : this.accuse(machine, source, vote, vote.fault, now)
    const settled = votes.last(this.options.off.windows).filter(({ fault }) => fault === undefined)
    if (settled.length >= this.options.off.votes) changes.push(...this.release(machine, point, votes, now))
    return changes
  }

  private accuse(machine: Machine, source: Source, vote: Vote, fault: string, now: Date): AlarmChange[] {
    const held = machine.alarms.get(fault)
    if (held && isActive(held.alarm)) {
      held.hold(pointKey(source))
      vote.counted = true
      return [{ change: 'updated', alarm: held.count(1, now.toISOString()) }]
    }
    const recent = this.votesOf(machine, pointKey(source)).last(this.options.on.windows)
    return this.judge(machine, source, fault, recent, now)
  }

  private judge(machine: Machine, source: Source, fault: string, recent: readonly Vote[], now: Date): AlarmChange[] {
    const same = recent.filter(vote => vote.fault === fault)
    if (same.length >= this.options.on.votes) return this.raise(machine, source, fault, same, now)
    const faulty = recent.filter(vote => vote.fault !== undefined)
    const silent = [...machine.alarms.values()].every(({ alarm }) => !isActive(alarm) && !isOutOfService(alarm))
    const main = mostFrequentFault(faulty)
    if (silent && main !== undefined && faulty.length >= this.options.on.votes) {
      return this.raise(machine, source, main, faulty, now)
    }
    return []
  }

  private raise(machine: Machine, source: Source, fault: string, votes: readonly Vote[], now: Date): AlarmChange[] {
    const held = machine.alarms.get(fault)
    if (held ? isOutOfService(held.alarm) : !hasRoom(machine.alarms)) return []
    const name = { site: machine.site, machine: machine.machine, fault }
    const evidence = votes.flatMap(vote => evidenceOf(source, vote))
    const counted = votes.filter(vote => vote.fault === fault)
    for (const vote of counted) vote.counted = true
    const raised = new HeldAlarm(raise(name, evidence, counted.length, now.toISOString()), [pointKey(source)])
    machine.alarms.set(fault, raised)
    return [{ change: 'raised', alarm: raised.alarm }]
  }

  /** This point is normal: it holds no alarm any more, and a new one takes new evidence. */
  private release(machine: Machine, point: string, votes: Votes, now: Date): AlarmChange[] {
    const changes: AlarmChange[] = []
    for (const held of machine.alarms.values()) {
      const change = isActive(held.alarm) ? held.release(point, now.toISOString()) : undefined
      if (!change) continue
      votes.clear()
      changes.push({ change, alarm: held.alarm })
    }
    return changes
  }

  private uncount(machine: Machine, vote: Vote, now: Date): AlarmChange[] {
    const held = vote.counted && vote.fault !== undefined ? machine.alarms.get(vote.fault) : undefined
    if (!held || !isActive(held.alarm)) return []
    return [{ change: 'updated', alarm: held.count(-1, now.toISOString()) }]
  }

  private faultOf(label: string): string | undefined {
    return label === this.options.normal ? undefined : faultName(label)
  }

  private machineOf(site: string, machine: string): Machine {
    return this.machines.reach(`${site}/${machine}`, () => {
      const alarms = new Map<string, HeldAlarm>()
      const votes = new RecentMap<Votes>({
        limit: limits.pointsPerMachine,
        isHeld: (_, point) => [...alarms.values()].some(held => held.isHeldBy(point)),
        onLost: point => {
          for (const held of alarms.values()) held.lose(point)
        },
      })
      return { site, machine, alarms, votes }
    })
  }

  private votesOf(machine: Machine, point: string): Votes {
    const capacity = Math.max(this.options.on.windows, this.options.off.windows)
    return machine.votes.reach(point, () => new Votes(capacity))
  }
}

/** Makes room among a machine's alarms for one more. False when it has so many open ones that it is not overlooked. */
function hasRoom(alarms: Map<string, HeldAlarm>): boolean {
  if (alarms.size < limits.alarmsPerMachine) return true
  const over = [...alarms].find(([, { alarm }]) => alarm.state === 'normal')
  return over !== undefined && alarms.delete(over[0])
}

/** A class as the last level of an alarm's topic: `Inner race` becomes `inner-race`. Throws `IDENTIFIER_INVALID`. */
export function faultName(label: string): string {
  const name = label
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63)
  if (identifierPattern.test(name)) return name
  throw new FaultlineError('IDENTIFIER_INVALID', `the class "${label}" cannot name an alarm: it has no letter or digit`)
}

function evidenceOf({ device, point }: Source, vote: Vote): Evidence[] {
  if (vote.id === undefined) return [] // Known from a summary only: nothing to point at.
  const { id, at, label, confidence, decidedBy } = vote
  return [{ id, at, device, point, label, confidence, decidedBy }]
}

/** One change per alarm: what began or ended it, with the alarm as it stands at the end. */
function merge(changes: readonly AlarmChange[]): AlarmChange[] {
  const merged: AlarmChange[] = []
  for (const next of changes) {
    const last = merged.findLast(({ alarm }) => alarm.fault === next.alarm.fault)
    if (last && next.change === 'updated') last.alarm = next.alarm
    else merged.push({ ...next })
  }
  return merged
}

/** Labels in turn, each as often as counted (all scaled down alike above `limit`), none bunched together. */
function* spread(counts: Record<string, number>, limit: number): Generator<string> {
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0)
  const entries = Object.entries(counts).map(([label, count]) => ({ label, share: count / total, given: 0 }))
  for (let step = 1; step <= Math.min(total, limit); step++) {
    const next = entries.reduce((most, entry) =>
      entry.share * step - entry.given > most.share * step - most.given ? entry : most,
    )
    next.given++
    yield next.label
  }
}

function checkThreshold(name: string, { votes, windows }: { votes: number; windows: number }): void {
  if (Number.isInteger(votes) && Number.isInteger(windows) && votes >= 1 && windows >= votes && windows <= 1_000) return
  throw new FaultlineError(
    'CONFIG_INVALID',
    `the ${name} rule "${votes} of ${windows} windows" must be whole numbers, 1 <= votes <= windows <= 1000`,
  )
}
