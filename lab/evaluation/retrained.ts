import { Random } from '@faultline/inference'
import { simulatedWindows } from '../data/simulated-windows.ts'
import { augmented, type LabelledWindow, randomWindows } from '../data/windows.ts'
import {
  answersOf,
  bearingSignal,
  localPlan,
  type ModelPlan,
  serverPlan,
  trainModel,
} from '../training/bearing-models.ts'
import { chooseThreshold } from '../training/calibration.ts'
import { classes, everyWindow, type FoldAnswers, knownOf } from './answers.ts'
import { rmsBaseline } from './baseline.ts'
import type { Fold } from './folds.ts'
import { outcomesOf, SHIPPED_PRICE } from './pair.ts'

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
 * Trains a pair on one fold as the shipped pair is trained (recordings and simulated machines in equal parts, gain and
 * noise varied), chooses epoch, temperature, threshold and RMS limit without its test side, and asks it about that side.
 */
export async function retrainedAnswers(
  { split, name, trainedOn, testedOn, parts }: Fold,
  { seed, perClass, effort }: RetrainingOptions,
  onEpoch: () => void,
): Promise<FoldAnswers> {
  const random = new Random(seed)
  const { bearing } = trainedOn
  const recorded = await randomWindows(trainedOn, parts.train, bearingSignal.samples, perClass, random)
  const simulated = simulatedWindows(perClass, bearingSignal, random, bearing)
  const train = [...recorded, ...simulated].map(labelled => augmented(labelled, random))
  const validation = [
    ...(await everyWindow(trainedOn, parts.validation, random)),
    ...simulatedWindows(Math.ceil(perClass / 10), bearingSignal, random, bearing),
  ]
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
  const chosen = { labels: labelsOf(validation), local: local.validation, server: server.validation }
  return {
    split,
    fold: name,
    models: 'retrained',
    ...knownOf(testedOn, test),
    local: local.test,
    server: server.test,
    threshold: chooseThreshold(outcomesOf(chosen, classes.length), SHIPPED_PRICE),
    rmsLimit: rmsBaseline(known, test).limit,
  }
}

function epochs(plan: ModelPlan, effort: number): number {
  return Math.max(1, Math.round(plan.epochs * effort))
}

function labelsOf(windows: readonly LabelledWindow[]): Uint8Array {
  return Uint8Array.from(windows, labelled => classes.indexOf(labelled.class))
}
