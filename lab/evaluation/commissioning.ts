import { Commissioning, type CommissioningState, rateSupportedBy, timeFeatures } from '@faultline/inference'
import type { BearingData } from '../data/bearing-data.ts'
import { groupBy } from './group-by.ts'
import { type FalseAlarms, falseAlarmRates } from './rows.ts'

/** The threshold on the mean of |x| that goes round for the CWRU rig: what a limit of another machine is worth. */
export const FIXED_LIMIT = 0.07

/** Samples in a window; recordings are taken at their own rate. */
const SAMPLES = 2048
const LEARN_SECONDS = 20
const TARGET_RATE = 1e-4

/** A point that learned one machine at one speed, then met its faults. */
export interface CommissioningResult {
  /** For instance `800 rpm`. */
  speed: string
  windowSeconds: number
  learnedSeconds: number
  state: CommissioningState
  /** Null where the point could not learn. */
  limit: number | null
  /** False alarms per hour the learned windows rule out at 95 % whatever the distribution. */
  supportedPerHour: number
  /** On the rest of the normal recording. */
  rest: FalseAlarms & { seconds: number }
  faults: FaultDetection[]
  /** The learned level against time: what was learned, then the rest, then each fault. */
  traces: { class: string; values: number[] }[]
}

export interface FaultDetection {
  class: string
  windows: number
  /** Share of the fault's windows called normal. */
  missed: number
  /** Longest time, over every moment the fault could have begun, until a window is not normal; null if none ever is. */
  worstDelaySeconds: number | null
  /** The same for the fixed limit. */
  missedByFixedLimit: number
}

/**
 * Commissions a point on the first 20 s of each speed's normal run and judges the rest of it and every fault. The runs'
 * parts are consecutive and taken as one. Empty where a speed has no normal run.
 */
export async function commissioningResults(data: BearingData): Promise<CommissioningResult[]> {
  const results: CommissioningResult[] = []
  for (const [shaftHz, recordings] of groupBy(data.recordings, recording => recording.shaftHz)) {
    const runs = new Map<string, number[]>()
    for (const [, parts] of groupBy(recordings, recording => recording.group)) {
      const levels = await levelsOf(data, parts.map(part => part.id).sort())
      runs.set(parts[0]!.class, levels)
    }
    const normal = runs.get('normal')
    if (!normal || shaftHz === undefined) continue
    results.push(commission(`${Math.round(60 * shaftHz)} rpm`, data.rateHz, normal, runs))
  }
  return results.sort((a, b) => a.speed.localeCompare(b.speed, 'en', { numeric: true }))
}

function commission(
  speed: string,
  rateHz: number,
  normal: readonly number[],
  runs: ReadonlyMap<string, readonly number[]>,
): CommissioningResult {
  const windowSeconds = SAMPLES / rateHz
  const learning = Math.floor(LEARN_SECONDS / windowSeconds)
  const commissioning = new Commissioning({ windows: learning, targetRate: TARGET_RATE })
  for (const meanAbs of normal.slice(0, learning)) commissioning.observe({ meanAbs })
  const { state } = commissioning
  // A point that could not learn calls nothing normal, and shows in every figure.
  const normals = (levels: readonly number[]) =>
    levels.map(meanAbs => state.phase === 'ready' && commissioning.observe({ meanAbs })!.normal)
  const rest = normals(normal.slice(learning))
  const hourWindows = 3600 / windowSeconds
  return {
    speed,
    windowSeconds,
    learnedSeconds: learning * windowSeconds,
    state,
    limit: state.limits.meanAbs?.limit ?? null,
    supportedPerHour: rateSupportedBy(state.effectiveWindows, state.confidence) * hourWindows,
    rest: {
      ...falseAlarmRates(rest.filter(isNormal => !isNormal).length, rest.length, hourWindows),
      seconds: rest.length * windowSeconds,
    },
    faults: [...runs]
      .filter(([name]) => name !== 'normal')
      .map(([name, levels]) => detection(name, normals(levels), levels, windowSeconds)),
    traces: [...runs].map(([name, levels]) => ({ class: name, values: [...levels] })),
  }
}

function detection(
  name: string,
  normals: readonly boolean[],
  levels: readonly number[],
  windowSeconds: number,
): FaultDetection {
  let [run, longest] = [0, 0]
  for (const isNormal of normals) {
    run = isNormal ? run + 1 : 0
    longest = Math.max(longest, run)
  }
  const missed = normals.filter(isNormal => isNormal).length
  return {
    class: name,
    windows: normals.length,
    missed: missed / normals.length,
    // After the longest silence comes the window that ends it.
    worstDelaySeconds: missed < normals.length ? (longest + 1) * windowSeconds : null,
    missedByFixedLimit: levels.filter(level => level <= FIXED_LIMIT).length / levels.length,
  }
}

/** Mean |x| of consecutive windows; parts follow one another. */
async function levelsOf(data: BearingData, parts: readonly string[]): Promise<number[]> {
  const levels: number[] = []
  for (const part of parts) {
    const samples = await data.read(part)
    for (let from = 0; from + SAMPLES <= samples.length; from += SAMPLES)
      levels.push(timeFeatures(samples.subarray(from, from + SAMPLES)).meanAbs)
  }
  return levels
}
