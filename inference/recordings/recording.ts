import type { Bearing } from '../signal/bearing.ts'
import type { RecordedSignal } from './signal-file.ts'

/** The classes of a rolling bearing's state, in the order the shipped models use. */
export const bearingClasses = ['normal', 'ball', 'inner-race', 'outer-race'] as const
export type BearingClass = (typeof bearingClasses)[number]

/** The class of recordings of which is not known what they show, as of bearings that run until they fail. */
export const unlabelled = 'unlabelled'

/** What is known about one recording without reading its samples. */
export interface RecordingInfo {
  /** File name without its ending, for example `12k-DE_105_DE`; with the column where a file has several. */
  id: string
  /** What it shows: one of `bearingClasses` for a bearing, or `unlabelled`. */
  class: string
  rateHz: number
  /** Samples in the recording. */
  samples: number
  /** Shaft speed in Hz (revolutions per second), where it is known. */
  shaftHz?: number
  /** True when `shaftHz` is the nominal speed of the load and was not measured. */
  shaftEstimated?: boolean
  /** Motor load in horsepower. */
  loadHp?: number
  /** Diameter of the seeded defect in inches; absent for a sound bearing. */
  diameterInch?: number
  /** Place of an outer-race defect on the clock face, `@6` being the load zone. */
  position?: string
  /** The bearing it was taken at, where its defect frequencies are stated. */
  bearing?: Bearing
  /** Its name, as the recording has it: a designation, or that of one bearing of a test. */
  bearingName?: string
  /** Recordings of one machine; of one rig and speed where absent. */
  machine?: string
  /** A machine that was recorded until it failed: its recordings in order. */
  run?: string
  /** Place among the consecutive parts of one run. */
  part?: number
  /** Samples of each snapshot, where snapshots lie end to end with time between them. */
  snapshotSamples?: number
  /** Time from the begin of one snapshot to that of the next. */
  snapshotIntervalS?: number
  /** Of its samples, as stated: `g`, `m/s2`, … */
  unit?: string
  /** Recordings of one group are consecutive parts of one run: they belong on one side of a split. */
  group: string
}

/** A directory of recordings. Opening lists them; samples are read and verified one recording at a time. */
export interface Dataset {
  readonly directory: string
  readonly recordings: readonly RecordingInfo[]
  /**
   * The samples of one recording in its own unit (g for CWRU), all finite.
   * Throws `RECORDING_UNREADABLE` (no such recording, no such file) or `RECORDING_INVALID` (length, digest or values).
   */
  read(id: string): Promise<Float32Array>
  /** The same with the gaps in it. Throws as `read` does. */
  signal(id: string): Promise<RecordedSignal>
}
