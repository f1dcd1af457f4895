import type { RecordingInfo } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'

/** The part of a recording that belongs to one side of a split, in samples; all of it when no range is given. */
export interface RecordingPart {
  recording: string
  class: string
  from?: number
  to?: number
}

export interface Split {
  train: RecordingPart[]
  validation: RecordingPart[]
  test: RecordingPart[]
}

const sides = ['train', 'validation', 'test'] as const

/** Silence between the sides of a recording that is split in time, in seconds. */
export const GAP_SECONDS = 1

/** Shares of what is left of a recording split in time once the two gaps are taken out. */
const TRAIN_SHARE = 0.5
const VALIDATION_SHARE = 0.22

/**
 * One load tests, the one before it (3 before 0) chooses (epochs, temperature, threshold), the others train. The split of
 * the shipped bearing models is that of load 3: loads 0 and 1 train, load 2 chooses. Windows of one recording resemble
 * each other too much to be on two sides, so whole recordings move; only when the sound bearing was recorded at fewer
 * loads than the split needs is its one recording cut in time, with gaps.
 */
export function splitByLoad(recordings: readonly RecordingInfo[], testLoad = 3): Split {
  const split: Split = { train: [], validation: [], test: [] }
  const sound = recordings.filter(recording => recording.class === 'normal')
  const cutInTime = !sides.every(side => sound.some(recording => sideOfLoad(recording.loadHp, testLoad) === side))
  for (const recording of recordings) {
    if (recording.class === 'normal' && cutInTime) continue
    const side = sideOfLoad(recording.loadHp, testLoad)
    if (side) split[side].push(whole(recording))
  }
  if (cutInTime) for (const recording of sound) addInTime(split, recording)
  requireClasses(split)
  return split
}

/** Everything of one defect diameter tests, the other diameters up to 0.021 inch train; the sound bearing as in `split`. */
export function leaveDiameterOut(recordings: readonly RecordingInfo[], diameterInch: number, split: Split): Split {
  const normal = (parts: RecordingPart[]) => parts.filter(part => part.class === 'normal')
  const faults = recordings.filter(({ diameterInch: size }) => size !== undefined && comparedDiameters.includes(size))
  return {
    train: [...normal(split.train), ...faults.filter(fault => fault.diameterInch !== diameterInch).map(whole)],
    validation: normal(split.validation),
    test: [...normal(split.test), ...faults.filter(fault => fault.diameterInch === diameterInch).map(whole)],
  }
}

/** The diameters every fault class was recorded with. */
export const comparedDiameters: readonly number[] = [0.007, 0.014, 0.021]

/** Throws `RECORDING_INVALID` when two sides share samples, or parts of a recording are closer than the gap. */
export function assertSeparate(split: Split, recordings: readonly RecordingInfo[]): void {
  const byId = new Map(recordings.map(recording => [recording.id, recording]))
  const parts = sides.flatMap(side =>
    split[side].map(part => {
      const recording = byId.get(part.recording)
      if (!recording)
        throw new FaultlineError('RECORDING_INVALID', `the split names "${part.recording}", which is not there`)
      return { side, part, recording, from: part.from ?? 0, to: part.to ?? recording.samples }
    }),
  )
  for (const [i, a] of parts.entries())
    for (const b of parts.slice(i + 1)) {
      if (a.side === b.side || a.recording.group !== b.recording.group) continue
      const gap = Math.max(a.from, b.from) - Math.min(a.to, b.to)
      if (a.recording.id !== b.recording.id || gap < GAP_SECONDS * a.recording.rateHz)
        throw new FaultlineError(
          'RECORDING_INVALID',
          `${a.part.recording} is on two sides of the split: ${a.side}, ${b.side}`,
        )
    }
}

const LOADS = 4

function sideOfLoad(loadHp: number | undefined, testLoad: number): keyof Split | undefined {
  if (loadHp === undefined || !(loadHp < LOADS)) return undefined
  if (loadHp === testLoad) return 'test'
  return loadHp === (testLoad + LOADS - 1) % LOADS ? 'validation' : 'train'
}

function addInTime(split: Split, recording: RecordingInfo): void {
  const gap = GAP_SECONDS * recording.rateHz
  const usable = recording.samples - 2 * gap
  if (usable <= 0) throw new FaultlineError('RECORDING_INVALID', `${recording.id} is too short to be split in time`)
  const trainEnd = Math.floor(usable * TRAIN_SHARE)
  const validationEnd = trainEnd + gap + Math.floor(usable * VALIDATION_SHARE)
  const part = { recording: recording.id, class: recording.class }
  split.train.push({ ...part, from: 0, to: trainEnd })
  split.validation.push({ ...part, from: trainEnd + gap, to: validationEnd })
  split.test.push({ ...part, from: validationEnd + gap, to: recording.samples })
}

function requireClasses(split: Split): void {
  const classes = new Set(sides.flatMap(side => split[side].map(part => part.class)))
  for (const side of sides)
    for (const name of classes)
      if (!split[side].some(part => part.class === name))
        throw new FaultlineError('RECORDING_INVALID', `the ${side} side has no recording of class "${name}"`)
  if (!classes.has('normal') || classes.size < 2)
    throw new FaultlineError('RECORDING_INVALID', 'the data set needs recordings of a sound bearing and of faults')
}

function whole(recording: RecordingInfo): RecordingPart {
  return { recording: recording.id, class: recording.class }
}
