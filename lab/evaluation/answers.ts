import { bearingClasses, type Random } from '@faultline/inference'
import type { BearingData } from '../data/bearing-data.ts'
import { consecutiveWindows, type LabelledWindow, rms } from '../data/windows.ts'
import type { RecordingPart } from '../splits.ts'
import { bearingSignal } from '../training/bearing-models.ts'
import type { PairAnswers } from './pair.ts'

export const classes: readonly string[] = bearingClasses

/** What everything that is compared said about the test windows of one fold. */
export interface FoldAnswers extends PairAnswers {
  split: string
  fold: string
  models: 'shipped' | 'retrained'
  /** The run each window comes from: windows of one run are no independent evidence. */
  runs: readonly string[]
  /** Level of each window, for the RMS rule. */
  levels: Float32Array
  /** Chosen without the test side: confidence below which hierarchical inference escalates. */
  threshold: number
  /** Chosen without the test side: level above which the RMS rule says "faulty". */
  rmsLimit: number
}

/** All windows of the parts, none overlapping. */
export function everyWindow(data: BearingData, parts: readonly RecordingPart[], random: Random) {
  return consecutiveWindows(data, parts, bearingSignal.samples, bearingSignal.samples, random)
}

/** What is known of windows without asking a model. */
export function knownOf(data: BearingData, windows: readonly LabelledWindow[]) {
  return {
    labels: Uint8Array.from(windows, labelled => classes.indexOf(labelled.class)),
    runs: windows.map(labelled => data.info(labelled.origin).group),
    levels: Float32Array.from(windows, labelled => rms(labelled.window.samples)),
  }
}
