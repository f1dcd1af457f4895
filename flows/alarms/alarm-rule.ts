import { type Alarm, FaultlineError, type Inference, maxAlarmPoints, type Summary } from '@faultline/protocol'
import { RecentMap } from '../recent-map.ts'
import { type AlarmRequest, type AlarmStep, carryOut } from './alarm-actions.ts'
import { type AlarmRuleOptions, checkAlarmRule } from './alarm-options.ts'
import { Deadlines } from './deadlines.ts'
import { HeldAlarm, pointKey } from './held-alarm.ts'
import { type AlarmName, isActive, isOutOfService, isPresent, quiet, raise, shifted, unsuppress } from './lifecycle.ts'
import { type Notice, nextNotice, withNotice } from './notices.ts'
import { mostFrequentFault, type Vote, Votes, voteOf, votesOf } from './votes.ts'

/** Where a window was measured. */
export interface Source {
  site: string
  device: string
  point: string
}

export interface AlarmChange {
  /** `updated`: the state is the same; the count, the points that hold it, or what is out of sight are not. */
  change: AlarmStep | 'returned' | 'updated' | 'notified'
  alarm: Alarm
  /** With `notified`: who is to be told. */
  notice?: Notice
}

interface Machine {
  site: string
  machine: string
  alarms: Map<string, HeldAlarm>
  votes: RecentMap<Votes>
}

/** Names come from payloads; no device may fill the memory with them. */
const limits = { machines: 10_000, pointsPerMachine: maxAlarmPoints, alarmsPerMachine: 64 }

/**
 * Turns windows into alarms: at most one per machine and fault, debounced, with its life after ISA-18.2.
 *
 * - Votes are counted per measurement point, so that a healthy sensor cannot outvote one that sits on the fault.
 * - On: N of the last M windows say the same fault, for as long as the on-delay. If N of M say some fault but no single one
 *   reaches N, and the machine has no alarm, the fault seen most is raised: a weak record that alternates between two
 *   faults must not stay silent.
 * - Off: only normal windows clear an alarm, N of M, for as long as the off-delay. A machine that now shows another fault is
 *   not healthy; both alarms stand.
 * - A revision takes the place of the vote for its window. Windows without a valid answer have no vote, nor have
 *   those from a backlog: later ones of their point were counted already.
 *
 * Pure: no clock, no timers, no MQTT. Whoever uses it calls `advance` when `due` has come. Every call runs to its end
 * before the next: windows of a machine are judged one after the other, in the order in which they come.
 */
export class AlarmRule {
  private readonly options: AlarmRuleOptions
  private readonly delays = new Deadlines()
  private readonly alarmDeadlines = new Deadlines()
  private readonly machines = new RecentMap<Machine>({
    limit: limits.machines,
    isHeld: ({ alarms }) => [...alarms.values()].some(({ alarm }) => alarm.state !== 'normal'),
  })

  /** Throws `CONFIG_INVALID`. */
  constructor(options: AlarmRuleOptions) {
    checkAlarmRule(options)
    this.options = options
  }

  /** Every alarm raised or restored, as it stands now. */
  *alarms(): Generator<Alarm> {
    for (const { alarms } of this.machines.values()) for (const { alarm } of alarms.values()) yield alarm
  }

  /** When time alone will change something, in ms since 1970; infinity when it will not. */
  get due(): number {
    return Math.min(this.delays.next, this.alarmDeadlines.next)
  }

  /** Takes over an alarm as it stood before a restart; the points that held it hold it until they are normal. */
  restore(alarm: Alarm): void {
    const held = HeldAlarm.restored(alarm)
    const machine = this.machineOf(alarm.site, alarm.machine)
    machine.alarms.set(alarm.fault, held)
    for (const point of [...held.points]) this.pointOf(machine, point)
    this.schedule(held.alarm)
  }

  /** An alarm was cleared by hand: it is gone, and a new one takes new evidence. Returns false when there was none. */
  forget({ site, machine: name, fault }: AlarmName): boolean {
    const machine = this.machines.get(`${site}/${name}`)
    const held = machine?.alarms.get(fault)
    if (!machine || !held) return false
    for (const point of held.points) machine.votes.get(point)?.clear()
    this.alarmDeadlines.delete(alarmKey(held.alarm))
    return machine.alarms.delete(fault)
  }

  /** Counts one window. Throws `IDENTIFIER_INVALID` when its label cannot name an alarm. */
  observe(source: Source, inference: Inference, now: Date): AlarmChange[] {
    if (inference.faults === false || inference.backlog) return []
    const { id, confidence, revises } = inference
    const machine = this.machineOf(source.site, inference.machine)
    const votes = this.pointOf(machine, pointKey(source))
    if (revises === undefined && votes.has(id)) return []
    if (confidence === null) {
      if (revises === undefined) votes.abstain(id)
      return []
    }
    const vote = voteOf(inference, this.options)
    if (revises === undefined) {
      votes.add(vote)
      return this.finish(this.evaluate(machine, source, vote, now))
    }
    const replaced = votes.revise(revises, vote)
    if (!replaced) return []
    if (replaced === 'abstained') return this.finish(this.evaluate(machine, source, vote, now))
    if (replaced.fault === vote.fault && replaced.normal === vote.normal) {
      vote.counted = replaced.counted
      return []
    }
    return this.finish([...this.uncount(machine, replaced, now), ...this.evaluate(machine, source, vote, now)])
  }

  /** Counts the windows a device did not publish one by one. Throws as `observe`. */
  observeSummary(source: Source, summary: Summary, now: Date): AlarmChange[] {
    if (summary.faults === false || summary.backlog) return []
    const machine = this.machineOf(source.site, summary.machine)
    const votes = this.pointOf(machine, pointKey(source))
    const changes: AlarmChange[] = []
    for (const vote of votesOf(summary, this.options)) {
      votes.add(vote)
      changes.push(...this.evaluate(machine, source, vote, now))
    }
    return this.finish(changes)
  }

  /** Does what a person asks for. Throws `MESSAGE_INVALID` where the alarm is in no state for it. */
  act(request: AlarmRequest, now: Date): AlarmChange[] {
    const machine = this.machineOf(request.site, request.machine)
    const held = machine.alarms.get(request.fault) ?? this.quietAlarm(machine, request.fault, now)
    const { alarm, change } = carryOut(held.alarm, request, this.options.longestShelfS, now)
    if (!machine.alarms.has(request.fault) && !hasRoom(machine.alarms)) {
      throw new FaultlineError('MESSAGE_INVALID', `${request.site}/${request.machine} has too many open alarms`)
    }
    machine.alarms.set(request.fault, held)
    return this.finish([{ change, alarm: held.become(alarm) }])
  }

  /** Does what has become due: delays that have passed, alarms shelved for long enough, people who have to be told. */
  advance(now: Date): AlarmChange[] {
    const changes: AlarmChange[] = []
    for (const key of this.delays.take(now.getTime())) {
      const [place, point] = key.split(' ') as [string, string]
      const machine = this.machines.get(place)
      const votes = machine?.votes.get(point)
      if (!machine || !votes) continue
      const [device, name] = point.split('/') as [string, string]
      const source = { site: machine.site, device, point: name }
      changes.push(...this.accuse(machine, source, votes, votes.suspicion?.fault, now))
      changes.push(...this.settle(machine, source, votes, now))
    }
    for (const key of this.alarmDeadlines.take(now.getTime())) {
      const [site, machine, fault] = key.split('/') as [string, string, string]
      const held = this.machines.get(`${site}/${machine}`)?.alarms.get(fault)
      if (held) changes.push(...this.timeUp(held, now))
    }
    return this.finish(changes)
  }

  /**
   * The clock was set by so many ms: whatever waits goes on waiting for as long as it would have. With 0 it is seen to that
   * nothing restored waits for longer than it may.
   */
  clockSet(ms: number, now: Date): AlarmChange[] {
    this.delays.shift(ms)
    const changes: AlarmChange[] = []
    for (const { alarms, votes } of this.machines.values()) {
      for (const point of votes.values()) point.shift(ms)
      for (const held of alarms.values()) {
        const { suppression, notified } = held.alarm
        const alarm = shifted(held.alarm, ms, this.options.longestShelfS, now)
        if (alarm.suppression?.until === suppression?.until && alarm.notified?.at === notified?.at) continue
        changes.push({ change: 'updated', alarm: held.become(alarm) })
      }
    }
    return this.finish(changes)
  }

  private timeUp(held: HeldAlarm, now: Date): AlarmChange[] {
    const { alarm } = held
    const until = alarm.suppression?.until
    if (until !== undefined && Date.parse(until) <= now.getTime()) {
      const back = held.become(unsuppress(alarm, now.toISOString())!)
      return [{ change: isActive(back) ? 'raised' : 'unshelved', alarm: back }]
    }
    const notice = nextNotice(alarm, this.options.notices)
    if (!notice || notice.at > now.getTime()) {
      this.schedule(alarm)
      return []
    }
    const { at: _, ...told } = notice
    return [{ change: 'notified', alarm: held.become(withNotice(alarm, told, now.toISOString())), notice: told }]
  }

  private evaluate(machine: Machine, source: Source, vote: Vote, now: Date): AlarmChange[] {
    const point = pointKey(source)
    const votes = this.pointOf(machine, point)
    const changes: AlarmChange[] = []
    for (const held of machine.alarms.values()) if (isPresent(held.alarm)) held.hear(point)
    const held = vote.fault === undefined ? undefined : machine.alarms.get(vote.fault)
    if (held && isPresent(held.alarm)) {
      held.hold(point)
      vote.counted = true
      changes.push({ change: 'updated', alarm: held.count(1, now.toISOString()) })
      changes.push(...this.accuse(machine, source, votes, votes.suspicion?.fault, now))
    } else {
      changes.push(...this.accuse(machine, source, votes, vote.fault ?? votes.suspicion?.fault, now))
    }
    return [...changes, ...this.settle(machine, source, votes, now)]
  }

  /** Raises what the point shows, once it has shown it for long enough. */
  private accuse(machine: Machine, source: Source, votes: Votes, fault: string | undefined, now: Date): AlarmChange[] {
    const charge = fault === undefined ? undefined : this.judge(machine, fault, votes.last(this.options.on.windows))
    if (!charge) {
      votes.suspicion = undefined
      return []
    }
    const since = votes.suspicion?.since ?? now.getTime()
    if (!this.hasLasted(machine, source, since, this.options.on.delayS, now)) {
      votes.suspicion = { fault: charge.fault, since }
      return []
    }
    votes.suspicion = undefined
    return this.raise(machine, source, charge.fault, charge.votes, now)
  }

  private judge(
    { alarms }: Machine,
    fault: string,
    recent: readonly Vote[],
  ): { fault: string; votes: readonly Vote[] } | undefined {
    const same = recent.filter(vote => vote.fault === fault)
    if (same.length >= this.options.on.votes) return { fault, votes: same }
    const faulty = recent.filter(vote => vote.fault !== undefined)
    const main = mostFrequentFault(faulty)
    const silent = [...alarms.values()].every(({ alarm }) => !isActive(alarm) && !isOutOfService(alarm))
    return silent && main !== undefined && faulty.length >= this.options.on.votes
      ? { fault: main, votes: faulty }
      : undefined
  }

  private raise(machine: Machine, source: Source, fault: string, votes: readonly Vote[], now: Date): AlarmChange[] {
    const known = machine.alarms.get(fault)
    if (!known && !hasRoom(machine.alarms)) return []
    const held = known ?? this.quietAlarm(machine, fault, now)
    held.hold(pointKey(source))
    const counted = votes.filter(vote => vote.fault === fault && !vote.counted)
    for (const vote of counted) vote.counted = true
    // Another point was quicker, while this one's delay ran.
    if (isPresent(held.alarm)) return [{ change: 'updated', alarm: held.count(counted.length, now.toISOString()) }]
    const { device, point } = source
    const evidence = votes.flatMap(vote => (vote.evidence ? [{ ...vote.evidence, device, point }] : []))
    held.become(raise(held.alarm, evidence, counted.length, now.toISOString()))
    machine.alarms.set(fault, held)
    return [{ change: isOutOfService(held.alarm) ? 'updated' : 'raised', alarm: held.alarm }]
  }

  /** Once this point has been normal for long enough it holds no alarm any more, and a new one takes new evidence. */
  private settle(machine: Machine, source: Source, votes: Votes, now: Date): AlarmChange[] {
    const normal = votes.last(this.options.off.windows).filter(vote => vote.normal)
    if (normal.length < this.options.off.votes) {
      votes.settledSince = undefined
      return []
    }
    votes.settledSince ??= now.getTime()
    const point = pointKey(source)
    const concerned = [...machine.alarms.values()].filter(held => isPresent(held.alarm) && held.isHeldBy(point))
    if (concerned.length === 0) return []
    if (!this.hasLasted(machine, source, votes.settledSince, this.options.off.delayS, now)) return []
    votes.clear()
    return concerned.flatMap(held => {
      const change = held.release(point, now.toISOString())
      return change ? [{ change, alarm: held.alarm }] : []
    })
  }

  /** Whether a delay has passed; otherwise it is looked at again when it has, with windows or without. */
  private hasLasted({ site, machine }: Machine, source: Source, since: number, delayS: number, now: Date): boolean {
    const until = since + delayS * 1_000
    if (now.getTime() >= until) return true
    this.delays.set(`${site}/${machine} ${pointKey(source)}`, until)
    return false
  }

  private uncount(machine: Machine, vote: Vote, now: Date): AlarmChange[] {
    const held = vote.counted && vote.fault !== undefined ? machine.alarms.get(vote.fault) : undefined
    if (!held || !isPresent(held.alarm)) return []
    return [{ change: 'updated', alarm: held.count(-1, now.toISOString()) }]
  }

  private finish(changes: readonly AlarmChange[]): AlarmChange[] {
    const merged = merge(changes)
    for (const { alarm } of merged) this.schedule(alarm)
    return merged
  }

  private schedule(alarm: Alarm): void {
    const until = alarm.suppression?.until
    const at = until === undefined ? nextNotice(alarm, this.options.notices)?.at : Date.parse(until)
    if (at === undefined) this.alarmDeadlines.delete(alarmKey(alarm))
    else this.alarmDeadlines.set(alarmKey(alarm), at)
  }

  private quietAlarm({ site, machine }: Machine, fault: string, now: Date): HeldAlarm {
    const { others, byFault } = this.options.priorities
    return new HeldAlarm(quiet({ site, machine, fault }, byFault?.[fault] ?? others, now.toISOString()))
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

  private pointOf(machine: Machine, point: string): Votes {
    const capacity = Math.max(this.options.on.windows, this.options.off.windows)
    return machine.votes.reach(point, () => new Votes(capacity))
  }
}

const alarmKey = ({ site, machine, fault }: AlarmName): string => `${site}/${machine}/${fault}`

/** Makes room among a machine's alarms for one more. False when it has so many open ones that it is not overlooked. */
function hasRoom(alarms: Map<string, HeldAlarm>): boolean {
  if (alarms.size < limits.alarmsPerMachine) return true
  const over = [...alarms].find(([, { alarm }]) => alarm.state === 'normal')
  return over !== undefined && alarms.delete(over[0])
}

/** One change per alarm: what began or ended it, with the alarm as it stands at the end. */
function merge(changes: readonly AlarmChange[]): AlarmChange[] {
  const merged: AlarmChange[] = []
  for (const next of changes) {
    const last = merged.findLast(({ alarm }) => alarmKey(alarm) === alarmKey(next.alarm))
    if (last && next.change === 'updated') last.alarm = next.alarm
    else merged.push({ ...next })
  }
  return merged
}
