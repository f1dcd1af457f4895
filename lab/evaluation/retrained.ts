import { Random } from '@faultline/inference'
import { augmented, drawnSamples } from '../data/augmentation.ts'
import { simulatedWindows } from '../data/simulated-windows.ts'
import { classNumbers, type LabelledWindow, randomWindows } from '../data/windows.ts'
import {
  answersOf,
  bearingSignal,
  localPlan,
  type ModelPlan,
  serverPlan,
  trainModel,
} from '../training/bearing-models.ts'
import { fitPair } from '../training/pair-calibration.ts'
import { classes, everyWindow, type FoldAnswers, knownOf } from './answers.ts'
import { rmsBaseline } from './baseline.ts'
import type { Fold } from './folds.ts'
import { priceFor, scoresOf } from './policy.ts'

export interface RetrainingOptions {
  seed: number
  /** Training windows per class, from recordings and from the simulator each. */
  perClass: number
  /** Share of the planned epochs to run. */
  effort: number
}

const plans = { local: localPlan, server: serverPlan }

/** Epochs that `retrainedAnswers` runs for one fold. */
export function epochsOf({ effort }: Pick<RetrainingOptions, 'effort'>): number {
  return Object.values(plans).reduce((sum, plan) => sum + epochs(plan, effort), 0)
}

/**
 * Trains a pair on one fold as the shipped pair is trained (recordings and simulated machines in equal parts, varied),
 * chooses epoch, temperature, calibration, price and RMS limit without its test side, and asks it about that side.
 */
export async function retrainedAnswers(
  { split, name, trainedOn, testedOn, parts }: Fold,
  { seed, perClass, effort }: RetrainingOptions,
  onEpoch: () => void,
): Promise<FoldAnswers> {
  const random = new Random(seed)
  const drawn = { ...bearingSignal, samples: drawnSamples(bearingSignal.samples) }
  const recorded = await randomWindows(trainedOn, parts.train, drawn.samples, perClass, random)
  const simulated = simulatedWindows(perClass, drawn, random)
  const train = [...recorded, ...simulated].map(labelled => augmented(labelled, bearingSignal.samples, random))
  const held = await everyWindow(trainedOn, parts.validation, random)
  const validation = [...held, ...simulatedWindows(Math.ceil(perClass / 10), bearingSignal, random)]
  const known = await everyWindow(trainedOn, parts.train, random)
  const test = await everyWindow(testedOn, parts.test, random)

  const trained = async (plan: ModelPlan) => {
    const model = await trainModel({ ...plan, epochs: epochs(plan, effort) }, classes, train, validation, seed, onEpoch)
    const answers = { test: answersOf(model, test), validation: answersOf(model, validation) }
    model.network.dispose()
    return answers
  }
  const local = await trained(plans.local)
  const server = await trained(plans.server)
  const labels = labelsOf(validation)
  const {
    threshold,
    correctness,
    server: trust,
  } = fitPair({ labels, local: local.validation, server: server.validation }, classes.length, undefined)
  const believed = { calibration: correctness, server: trust }
  // The share escalated is one of recordings where there are any: simulated machines are easier.
  const scores = scoresOf(local.validation, believed)
  const price = priceFor(held.length > 0 ? scores.subarray(0, held.length) : scores)
  return {
    split,
    fold: name,
    models: 'retrained',
    ...knownOf(testedOn, test),
    local: local.test,
    server: server.test,
    known: believed,
    scores: scoresOf(local.test, believed),
    price,
    threshold: 1 - price,
    confidence: threshold,
    rmsLimit: rmsBaseline(known, test).limit,
  }
}

function epochs(plan: ModelPlan, effort: number): number {
  return Math.max(1, Math.round(plan.epochs * effort))
}

function labelsOf(windows: readonly LabelledWindow[]): Uint8Array {
  return classNumbers(windows, classes)
}
