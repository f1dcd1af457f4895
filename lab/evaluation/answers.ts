import { bearingClasses, type Random } from '@faultline/inference'
import type { BearingData } from '../data/bearing-data.ts'
import { classNumbers, consecutiveWindows, type LabelledWindow, rms } from '../data/windows.ts'
import type { RecordingPart } from '../splits.ts'
import { bearingSignal } from '../training/bearing-models.ts'
import type { PairAnswers } from './pair.ts'
import type { Known } from './policy.ts'

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
  /** Fitted without the test side: how far a local answer can be believed, and the server's where that could be measured. */
  known: Known
  /** How probable the calibrated policy takes each local answer to be right. */
  scores: Float32Array
  /** Chosen without the test side: what one escalation costs, in wrong accepted answers. */
  price: number
  /** Score below which the policy escalates at that price. */
  threshold: number
  /** Chosen without the test side: local confidence below which escalating pays at a price of 0.2, as a bundle carries it. */
  confidence: number
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
    labels: classNumbers(windows, classes),
    runs: windows.map(labelled => data.info(labelled.origin).group),
    levels: Float32Array.from(windows, labelled => rms(labelled.window.samples)),
  }
}
