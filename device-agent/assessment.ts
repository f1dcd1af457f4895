import {
  type Bearing,
  type CalibrationModel,
  type Classifier,
  checkWindow,
  type Decision,
  type DecisionContext,
  isValid,
  type LocalResult,
  type Policy,
  timeFeatures,
  type Window,
} from '@faultline/inference'
import { unknownLabel } from '@faultline/protocol'
import type { WindowQuote } from './pricing.ts'

/** What the agent asks of a model. `Classifier` is one. */
export interface LocalModel extends Pick<Classifier, 'model' | 'classes' | 'task' | 'classify'> {
  readonly engine: string
  /** The bearing the model assumes where a window names none; absent where the bundle leaves it open. */
  readonly bearing?: Bearing
  /** What policies take from the bundle, where there is one. */
  readonly bundle?: {
    description: { normal?: string; calibration: { threshold?: number; correctness?: CalibrationModel } }
  }
}

/** What the device itself makes of a window. */
export interface Assessment {
  local: LocalResult
  /**
   * False when the model gave no answer that could be believed: NaN, a wrong length, an engine that failed, a window that
   * it cannot judge.
   */
  valid: boolean
  decision: Decision
  features: Record<string, number>
}

/** Published with every inference: those that mean something on any machine, in the unit of the signal. */
export const publishedFeatures = ['rms', 'meanAbs', 'peak', 'crestFactor', 'kurtosis', 'skewness'] as const

/**
 * Classifies a window and decides whether that answer will do. Throws `WINDOW_INVALID` for a window that is none: empty,
 * or with samples that are not finite. Whatever else keeps the model from answering, a shaft speed that nobody measured
 * among it, is an invalid answer, which is escalated: the window is one, and somebody else may be able to judge it.
 */
export async function assess(
  window: Window,
  model: LocalModel,
  policy: Pick<Policy, 'decide'>,
  { numbers, ...context }: DecisionContext & Partial<Pick<WindowQuote, 'numbers'>>,
): Promise<Assessment> {
  checkWindow(window)
  const { classes } = model
  const answer = await classifyOne(window, model)
  const valid = answer !== undefined && isValid(answer.classification.probabilities, classes.length)
  const local: LocalResult = valid
    ? { ...answer.classification, classes }
    : {
        label: unknownLabel,
        confidence: Number.NaN,
        probabilities: answer?.classification.probabilities ?? [],
        classes,
      }
  const decision: Decision = valid
    ? policy.decide(local, context)
    : { action: 'escalate', reason: 'invalid-output', numbers: { price: context.price } }
  decision.numbers = { ...numbers, ...decision.numbers }
  return { local, valid, decision, features: featuresOf(window, answer?.features) }
}

async function classifyOne(
  window: Window,
  model: LocalModel,
): Promise<Awaited<ReturnType<LocalModel['classify']>>[number] | undefined> {
  try {
    return (await model.classify([window]))[0]
  } catch {
    return undefined
  }
}

function featuresOf(window: Window, known: Record<string, number> | undefined): Record<string, number> {
  if (window.shape.length !== 1) return {} // An image has no vibration.
  const all: Record<string, number> = known ?? { ...timeFeatures(window.samples) }
  return finite(Object.fromEntries(publishedFeatures.map(name => [name, all[name] ?? Number.NaN])))
}

/** Finite numbers alone, to five significant digits: JSON has no others, and more digits would be bytes without meaning. */
export function finite(numbers: Record<string, number>): Record<string, number> {
  const kept: Record<string, number> = {}
  for (const [name, value] of Object.entries(numbers)) if (Number.isFinite(value)) kept[name] = rounded(value)
  return kept
}

export const rounded = (value: number): number => Number(value.toPrecision(5))
