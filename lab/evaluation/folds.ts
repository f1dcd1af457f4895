import type { RecordingInfo } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import type { BearingData } from '../data/bearing-data.ts'
import {
  assertSeparate,
  comparedDiameters,
  leaveDiameterOut,
  type RecordingPart,
  type Split,
  splitByLoad,
} from '../splits.ts'

/** One way of keeping what is tested apart from what was trained on. */
export interface Fold {
  /** The family, for instance `leave one load out`. */
  split: string
  /** What this fold leaves out, for instance `3 hp`. */
  name: string
  trainedOn: BearingData
  testedOn: BearingData
  parts: Split
}

export const splitNames = {
  load: 'CWRU, leave one load out',
  diameter: 'CWRU, leave one diameter out',
  speed: 'UESTC, leave one speed out',
  toUestc: 'CWRU to UESTC',
  toCwru: 'UESTC to CWRU',
} as const

/** Every fold that needs a training of its own. No recording and no run of a fold is both trained on and tested. */
export function foldsOf(cwru: BearingData, uestc: BearingData | undefined): Fold[] {
  const folds = [...loadFolds(cwru), ...diameterFolds(cwru)]
  if (uestc) folds.push(...speedFolds(uestc), backFold(uestc, cwru))
  for (const { trainedOn, testedOn, parts } of folds)
    if (trainedOn === testedOn) assertSeparate(parts, trainedOn.recordings)
  return folds
}

function loadFolds(data: BearingData): Fold[] {
  return [0, 1, 2, 3].map(load => ({
    split: splitNames.load,
    name: `${load} hp`,
    trainedOn: data,
    testedOn: data,
    parts: splitByLoad(data.recordings, load),
  }))
}

/** The defects of one size test; of the others, load 2 chooses as it does for the shipped models. */
function diameterFolds(data: BearingData): Fold[] {
  const byLoad = splitByLoad(data.recordings)
  const chooses = (part: RecordingPart) => part.class !== 'normal' && data.info(part.recording).loadHp === 2
  return comparedDiameters.map(diameter => {
    const { train, validation, test } = leaveDiameterOut(data.recordings, diameter, byLoad)
    const parts = {
      train: train.filter(part => !chooses(part)),
      validation: [...validation, ...train.filter(chooses)],
      test,
    }
    return { split: splitNames.diameter, name: `${diameter} inch`, trainedOn: data, testedOn: data, parts }
  })
}

/**
 * The runs at one speed test, the others train. Nothing recorded is left to choose with (the parts of a run are
 * consecutive), so simulated machines choose alone.
 */
function speedFolds(data: BearingData): Fold[] {
  const speeds = [...new Set(data.recordings.map(({ shaftHz }) => shaftHz))].sort((a, b) => (a ?? 0) - (b ?? 0))
  if (speeds.length < 2 || speeds.includes(undefined))
    throw new FaultlineError('RECORDING_INVALID', 'UESTC needs recordings at two speeds or more, each stated')
  return speeds.map(speed => ({
    split: splitNames.speed,
    name: `${Math.round(60 * speed!)} rpm`,
    trainedOn: data,
    testedOn: data,
    parts: {
      train: data.recordings.filter(recording => recording.shaftHz !== speed).map(whole),
      validation: [],
      test: data.recordings.filter(recording => recording.shaftHz === speed).map(whole),
    },
  }))
}

/** Everything of one rig trains, everything of the other tests. */
function backFold(uestc: BearingData, cwru: BearingData): Fold {
  const parts = { train: uestc.recordings.map(whole), validation: [], test: cwru.recordings.map(whole) }
  return { split: splitNames.toCwru, name: 'all', trainedOn: uestc, testedOn: cwru, parts }
}

export function whole({ id, class: name }: RecordingInfo): RecordingPart {
  return { recording: id, class: name }
}
