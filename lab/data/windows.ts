import type { Bearing, Random, Window } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import type { RecordingPart } from '../splits.ts'
import type { BearingData } from './bearing-data.ts'

/** A window with its true class and where it comes from. */
export interface LabelledWindow {
  window: Window
  class: string
  origin: string
  /** The bearing it is of, where that is not the CWRU rig's. */
  bearing?: Bearing
}

/**
 * Every recording is put on this grid, in g, after dithering by one step. It is coarser than the coarsest converter step
 * of the data (0.81 mg): the step differs between recordings, some steps occur in one class only, and a network would
 * learn it.
 */
export const COMMON_STEP = 0.001

/**
 * Training windows of the normal class for each one of a fault class: a false alarm costs a walk to the machine, and most
 * windows of a plant are normal.
 */
const NORMAL_FACTOR = 2

/** Training windows wanted of a class when `perClass` are wanted of each fault. */
export function wantedOf(name: string, perClass: number): number {
  return name === 'normal' ? NORMAL_FACTOR * perClass : perClass
}

/** All windows of the parts, `hop` samples apart, on the common grid. */
export async function consecutiveWindows(
  data: BearingData,
  parts: readonly RecordingPart[],
  samples: number,
  hop: number,
  random: Random,
): Promise<LabelledWindow[]> {
  const windows: LabelledWindow[] = []
  for (const part of parts) {
    const end = part.to ?? data.info(part.recording).samples
    for (let from = part.from ?? 0; from + samples <= end; from += hop)
      windows.push(await windowAt(data, part, from, samples, random))
  }
  return windows
}

/**
 * `perClass` windows of each fault, more of normal, from random places: first the recording, then the place, so that each recording of
 * a class counts the same however long it is.
 */
export async function randomWindows(
  data: BearingData,
  parts: readonly RecordingPart[],
  samples: number,
  perClass: number,
  random: Random,
): Promise<LabelledWindow[]> {
  const windows: LabelledWindow[] = []
  for (const name of new Set(parts.map(part => part.class))) {
    const choice = parts.filter(part => part.class === name)
    for (let i = wantedOf(name, perClass); i > 0; i--) {
      const part = choice[Math.floor(random.uniform() * choice.length)]!
      const start = part.from ?? 0
      const room = (part.to ?? data.info(part.recording).samples) - start - samples
      windows.push(await windowAt(data, part, start + Math.floor(random.uniform() * (room + 1)), samples, random))
    }
  }
  return windows
}

async function windowAt(
  data: BearingData,
  part: RecordingPart,
  from: number,
  length: number,
  random: Random,
): Promise<LabelledWindow> {
  const info = data.info(part.recording)
  const recorded = (await data.read(part.recording)).subarray(from, from + length)
  const { step = COMMON_STEP, bearing } = data
  const samples = recorded.map(x => Math.round(x / step + random.uniform() - 0.5) * step)
  return {
    window: { samples, shape: [length], rateHz: data.rateHz, shaftHz: info.shaftHz },
    class: part.class,
    origin: part.recording,
    ...((info.bearing ?? bearing) ? { bearing: info.bearing ?? bearing } : {}),
  }
}

/** The number of each window's class. Throws `RECORDING_INVALID` for one of another class. */
export function classNumbers(
  windows: readonly Pick<LabelledWindow, 'class' | 'origin'>[],
  classes: readonly string[],
): Uint8Array {
  return Uint8Array.from(windows, ({ class: name, origin }) => {
    const number = classes.indexOf(name)
    if (number >= 0) return number
    throw new FaultlineError('RECORDING_INVALID', `${origin}: "${name}" is none of ${classes.join(', ')}`)
  })
}

/** Root mean square about the mean. */
export function rms(samples: Float32Array): number {
  const mean = samples.reduce((sum, x) => sum + x, 0) / samples.length
  return Math.sqrt(samples.reduce((sum, x) => sum + (x - mean) ** 2, 0) / samples.length)
}
