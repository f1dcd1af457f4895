import type { Alarm, Counters, Inference } from '@faultline/protocol'
import type { Machine } from './machines.ts'

/** What the run amounted to; written by `--summary`. */
export interface FleetSummary extends Counters {
  audits: number
  alarmsRaised: number
  falseAlarms: number
  /** Topics and payloads of everything the devices published. */
  bytesSent: number
  /** The same run, had every window been escalated. */
  bytesIfAllEscalated: number
  /** Share of windows whose label was the truth: the local answer, and the final one. Null before the first window. */
  accuracy: { local: number | null; final: number | null }
  machines: MachineSummary[]
}

export interface MachineSummary {
  machine: string
  truth: string
  windows: number
  escalated: number
  accuracy: { local: number | null; final: number | null }
  /** Faults for which an alarm was raised. */
  alarms: string[]
}

class Score {
  windows = 0
  escalated = 0
  localRight = 0
  finalRight = 0

  get accuracy(): { local: number | null; final: number | null } {
    if (this.windows === 0) return { local: null, final: null }
    return { local: this.localRight / this.windows, final: this.finalRight / this.windows }
  }
}

/** Late windows that a verdict may still revise. */
const longestMemory = 10_000

/** Holds the answers of the fleet against the truth, which only a simulation or a labelled recording knows. */
export class Scoreboard {
  private readonly machines: Map<string, Machine>
  private readonly scores = new Map<string, Score>()
  private readonly finalWasRight = new Map<string, boolean>()
  private readonly raised = new Map<string, Set<string>>()
  private readonly falseRaised = new Set<string>()
  private readonly truthNow = new Map<string, string>()
  private readonly startedAt: number
  /** Raised alarms that have not returned to normal. */
  readonly activeAlarms = new Map<string, Alarm>()

  /** @param startedAt Alarms that stand from before this time, in ms since 1970, were raised in an earlier run and do not count. */
  constructor(machines: readonly Machine[], startedAt = 0) {
    this.startedAt = startedAt
    this.machines = new Map(machines.map(machine => [machine.machine, machine]))
    for (const machine of machines) {
      this.scores.set(machine.machine, new Score())
      this.raised.set(machine.machine, new Set())
    }
  }

  /** Counts an inference; a revision replaces the final answer of the window it revises. */
  record(inference: Inference, truth: string): void {
    const score = this.scores.get(inference.machine)
    if (!score) return
    const right = inference.label === truth
    if (inference.revises !== undefined) {
      const before = this.finalWasRight.get(inference.revises)
      if (before !== undefined) score.finalRight += Number(right) - Number(before)
      this.finalWasRight.delete(inference.revises)
      return
    }
    this.truthNow.set(inference.machine, truth)
    score.windows++
    if (inference.outcome !== 'accepted') score.escalated++
    if (inference.local.label === truth) score.localRight++
    if (right) score.finalRight++
    // Only an answer that is still provisional can be revised.
    if (inference.outcome === 'late') this.remember(inference.id, right)
  }

  private remember(id: string, right: boolean): void {
    this.finalWasRight.set(id, right)
    // Most late windows are never revised: the server was gone.
    if (this.finalWasRight.size > longestMemory) this.finalWasRight.delete(this.finalWasRight.keys().next().value!)
  }

  /** Follows an alarm. It counts as false when its machine is healthy at the moment it is raised. */
  recordAlarm(alarm: Alarm): void {
    const key = `${alarm.machine}/${alarm.fault}`
    const isOfThisRun = Date.parse(alarm.since) >= this.startedAt
    if (isOfThisRun && alarm.state === 'unacknowledged' && !this.activeAlarms.has(key)) {
      this.raised.get(alarm.machine)?.add(alarm.fault)
      if ((this.truthNow.get(alarm.machine) ?? this.machines.get(alarm.machine)?.fault) === 'normal')
        this.falseRaised.add(key)
    }
    if (alarm.state === 'normal' || alarm.state === 'returned-unacknowledged') this.activeAlarms.delete(key)
    else this.activeAlarms.set(key, alarm)
  }

  summary(
    counters: Counters,
    traffic: { audits: number; bytesSent: number; bytesIfAllEscalated: number },
  ): FleetSummary {
    const total = new Score()
    const machines = [...this.machines.values()].map(machine => {
      const score = this.scores.get(machine.machine)!
      total.windows += score.windows
      total.localRight += score.localRight
      total.finalRight += score.finalRight
      return {
        machine: machine.machine,
        truth: machine.fault,
        windows: score.windows,
        escalated: score.escalated,
        accuracy: score.accuracy,
        alarms: [...this.raised.get(machine.machine)!],
      }
    })
    return {
      ...counters,
      ...traffic,
      alarmsRaised: machines.reduce((sum, machine) => sum + machine.alarms.length, 0),
      falseAlarms: this.falseRaised.size,
      accuracy: total.accuracy,
      machines,
    }
  }
}
