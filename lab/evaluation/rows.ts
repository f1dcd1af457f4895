import { bearingSignal } from '../training/bearing-models.ts'
import { classes, type FoldAnswers } from './answers.ts'
import { type Decision, decisionsOf, type Method, methods, NORMAL } from './decisions.ts'
import { groupBy } from './group-by.ts'
import { bootstrapRuns, type Interval, poissonUpperBound } from './intervals.ts'

/** Name of the row that takes the folds of a split together. */
export const ALL_FOLDS = 'all folds'

/** One method on the test side of one fold, or of all folds of a split together. */
export interface Row {
  split: string
  fold: string
  models: 'shipped' | 'retrained'
  method: Method
  windows: number
  runs: number
  /** Share of windows whose class was named; null for the RMS rule, which names none. */
  accuracy: Interval | null
  macroF1: Interval | null
  /** Share of windows told rightly as normal or faulty. */
  detection: Interval
  /** Share of windows whose final answer is the server's. */
  escalated: number
  /** Mean bytes of escalations on the wire per window; answers and inferences are not counted. */
  bytesPerWindow: number
  /** Share of faulty windows read as normal; null without faulty windows. */
  missedFaultRate: number | null
  falseAlarms: FalseAlarms | null
  /** Score below which windows are escalated (1 - price), or the limit of the RMS rule; null in rows of several folds. */
  threshold: number | null
  confusion: number[][] | null
}

export interface FalseAlarms {
  /** Normal windows read as faulty, of so many. */
  windows: number
  of: number
  perHour: number
  /** What the recording rules out at 95 %: short recordings rule out little. */
  perHourAtMost: number
}

const HOUR_WINDOWS = (3600 * bearingSignal.rateHz) / bearingSignal.samples

/**
 * Rows of one split: every method on every fold, and on all of them together where there are several that tested
 * different recordings.
 */
export function rowsOf(folds: readonly FoldAnswers[], escalationBytes: number): Row[] {
  const sameTest = folds.every(fold => fold.runs.join() === folds[0]!.runs.join())
  const groups = !sameTest ? [...folds.map(fold => [fold]), folds] : folds.map(fold => [fold])
  return groups.flatMap(group => methods.map(method => rowOf(group, method, escalationBytes)))
}

function rowOf(folds: readonly FoldAnswers[], method: Method, escalationBytes: number): Row {
  const byFold = folds.map(fold => decisionsOf(method, fold))
  const decisions = byFold.flat()
  const byRun = [...groupBy(decisions, decision => decision.run).values()]
  const naming = method !== 'rms'
  const { accuracy, macroF1, detection } = bootstrapRuns(byRun.map(tallyOf), figuresOf)
  const faulty = decisions.filter(decision => decision.label !== NORMAL)
  const escalated = shareOf(decisions, decision => decision.escalated)
  const [first] = folds as [FoldAnswers]
  return {
    split: first.split,
    fold: folds.length > 1 ? ALL_FOLDS : first.fold,
    models: first.models,
    method,
    windows: decisions.length,
    runs: byRun.length,
    accuracy: naming ? accuracy : null,
    macroF1: naming ? macroF1 : null,
    detection,
    escalated,
    bytesPerWindow: escalated * escalationBytes,
    missedFaultRate: faulty.length > 0 ? shareOf(faulty, decision => !decision.faulty) : null,
    falseAlarms: falseAlarmsOf(byFold),
    threshold: folds.length > 1 ? null : thresholdOf(first, method),
    confusion: naming ? tallyOf(decisions).confusion : null,
  }
}

function thresholdOf(fold: FoldAnswers, method: Method): number | null {
  if (method === 'rms') return fold.rmsLimit
  return method === 'hierarchical' ? fold.threshold : null
}

interface Tally {
  windows: number
  detected: number
  confusion: number[][]
}

function tallyOf(decisions: readonly Decision[]): Tally {
  const confusion = classes.map(() => classes.map(() => 0))
  let detected = 0
  for (const { label, named, faulty } of decisions) {
    if (named !== undefined) confusion[label]![named]! += 1
    if (faulty === (label !== NORMAL)) detected++
  }
  return { windows: decisions.length, detected, confusion }
}

function figuresOf(tallies: readonly Tally[]): Record<'accuracy' | 'macroF1' | 'detection', number> {
  const size = classes.length
  const truths = new Float64Array(size)
  const answers = new Float64Array(size)
  const hits = new Float64Array(size)
  let [windows, detected] = [0, 0]
  for (const tally of tallies) {
    windows += tally.windows
    detected += tally.detected
    for (let i = 0; i < size; i++) {
      hits[i]! += tally.confusion[i]![i]!
      for (let j = 0; j < size; j++) {
        truths[i]! += tally.confusion[i]![j]!
        answers[j]! += tally.confusion[i]![j]!
      }
    }
  }
  const present = classes.map((_, i) => i).filter(i => truths[i]! > 0)
  const f1 = present.reduce((sum, i) => sum + (2 * hits[i]!) / (truths[i]! + answers[i]!), 0)
  return {
    accuracy: hits.reduce((a, b) => a + b, 0) / windows,
    macroF1: f1 / present.length,
    detection: detected / windows,
  }
}

/**
 * A normal run that several folds tested counts once, with the fold that read it worst: the same seconds judged by
 * several models are no more seconds.
 */
function falseAlarmsOf(byFold: readonly (readonly Decision[])[]): FalseAlarms | null {
  const worst = new Map<string, { windows: number; of: number }>()
  for (const decisions of byFold)
    for (const [run, normal] of groupBy(
      decisions.filter(decision => decision.label === NORMAL),
      decision => decision.run,
    )) {
      const windows = normal.filter(decision => decision.faulty).length
      if (windows >= (worst.get(run)?.windows ?? 0)) worst.set(run, { windows, of: normal.length })
    }
  if (worst.size === 0) return null
  const sum = (key: 'windows' | 'of') => [...worst.values()].reduce((total, run) => total + run[key], 0)
  return falseAlarmRates(sum('windows'), sum('of'), HOUR_WINDOWS)
}

/** False alarms among so many normal windows, per hour of windows without pause. */
export function falseAlarmRates(windows: number, of: number, hourWindows: number): FalseAlarms {
  const perHour = (count: number) => (count / of) * hourWindows
  return {
    windows,
    of,
    perHour: perHour(windows),
    perHourAtMost: Math.min(perHour(poissonUpperBound(windows)), hourWindows),
  }
}

function shareOf(decisions: readonly Decision[], holds: (decision: Decision) => boolean): number {
  return decisions.filter(holds).length / decisions.length
}
