import type { BundleDescription, Dataset, RecordingInfo } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'

/** One machine of the fleet with the device beside it, and what is truly the matter with it. */
export interface Machine {
  device: string
  machine: string
  point: string
  /** What the machine ends up with: `normal`, or the fault it has or develops. */
  fault: string
  feed: SimulatedFeed | RecordingFeed
}

export interface SimulatedFeed {
  kind: 'simulated'
  shaftHz: number
  /** When the fault begins, in seconds of machine time, and how long it takes to grow. */
  faultAfterS: number
  growthS: number
  seed: number
}

export interface RecordingFeed {
  kind: 'recording'
  recording: string
  /** The samples the split gave to the test side; all when absent. */
  from?: number
  to?: number
}

const number = (index: number): string => String(index + 1).padStart(2, '0')

/** Every other machine stays healthy; the others take the faults in turn. */
const simulatedFaults = ['normal', 'outer-race', 'normal', 'inner-race', 'normal', 'ball']

/** Machines whose faults begin one after the other within the first half minute. */
export function simulatedMachines(count: number, seed: number): Machine[] {
  return Array.from({ length: count }, (_, i) => {
    const fault = simulatedFaults[i % simulatedFaults.length]!
    return {
      device: `pi-${number(i)}`,
      machine: `motor-${number(i)}`,
      point: 'motor-de',
      fault,
      feed: {
        kind: 'simulated',
        // Two- and four-pole motors under load do not turn at one speed.
        shaftHz: 24 + ((i * 1.7) % 6),
        faultAfterS: 4 + (i % 6) * 2,
        growthS: 12,
        seed: seed * 1_000 + i,
      },
    }
  })
}

/**
 * Machines that replay recordings the models never saw: the test side written in the bundle's split, or all recordings of
 * a data set that the split does not know. Classes take turns, normal first, and within a class the recordings. Throws
 * `RECORDING_INVALID` when the data set has none.
 */
export function recordedMachines(count: number, bundle: BundleDescription, dataset: Dataset): Machine[] {
  const available = new Map(dataset.recordings.map(recording => [recording.id, recording]))
  const { split } = bundle.training
  const isKnown = Object.values(split)
    .flat()
    .some(part => available.has(part.recording))
  const parts = isKnown
    ? split.test.filter(part => available.has(part.recording))
    : dataset.recordings.map((recording): (typeof split.test)[number] => ({
        recording: recording.id,
        class: recording.class,
      }))
  const classes = new Set([...bundle.classes, ...(isKnown ? [] : parts.map(part => part.class))])
  const byClass = [...classes].map(name => parts.filter(part => part.class === name)).filter(list => list.length > 0)
  if (byClass.length === 0) {
    throw new FaultlineError(
      'RECORDING_INVALID',
      `none of the ${dataset.recordings.length} recordings is on the test side of ${bundle.name}; its bundle.json lists them`,
    )
  }
  return Array.from({ length: count }, (_, i) => {
    const candidates = byClass[i % byClass.length]!
    const part = candidates[Math.floor(i / byClass.length) % candidates.length]!
    return {
      device: `pi-${number(i)}`,
      machine: `motor-${number(i)}`,
      point: pointOf(available.get(part.recording)!),
      fault: part.class,
      feed: { kind: 'recording', recording: part.recording, from: part.from, to: part.to },
    }
  })
}

const pointOf = (recording: RecordingInfo): string => (recording.id.includes('FE') ? 'motor-fe' : 'motor-de')
