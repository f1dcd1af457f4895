import {
  amplitudeSpectrum,
  type Bearing,
  type CalibrationModel,
  type Classifier,
  checkWindow,
  type Decision,
  type DecisionContext,
  type InputDescription,
  isValid,
  type LocalResult,
  type ServerTrustModel,
  timeFeatures,
  velocityRms,
  type Window,
} from '@faultline/inference'
import { type ModelReference, unknownLabel } from '@faultline/protocol'
import type { WindowQuote } from '../link/pricing.ts'
import { lacksSpeed } from '../sensors/missing-speed.ts'
import type { Commissioned, WindowJudge } from './commissioning-keeper.ts'
import type { Decider } from './policy-keeper.ts'

/** What the agent asks of a model. `Classifier` is one. */
export interface LocalModel extends Pick<Classifier, 'model' | 'classes' | 'task' | 'classify'> {
  readonly engine: string
  /** False of the one that stands where no model is. */
  readonly trained?: false
  /** The bearing the model assumes where a window names none; absent where the bundle leaves it open. */
  readonly bearing?: Bearing
  /** What policies take from the bundle, where there is one. */
  readonly bundle?: {
    description: {
      input?: InputDescription
      normal?: string
      calibration: { threshold?: number; correctness?: CalibrationModel; server?: ServerTrustModel }
    }
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
  /** Whose answer it is, where it is not the local model's: then the policy neither decided nor learns. */
  by?: ModelReference
  features: Record<string, number>
}

/** Published with every inference: those that mean something on any machine, in the unit of the signal. */
export const publishedFeatures = [
  'rms',
  'meanAbs',
  'peak',
  'crestFactor',
  'kurtosis',
  'skewness',
  'velocityRms',
] as const

/**
 * Classifies a window and decides whether that answer will do.
 *
 * At a commissioned point (`judge`) the rule of arXiv 2304.11763 comes first, with the point's own limit: within it, the
 * window is normal and accepted, and the model is not asked. Above it, the window is not normal: where the model names
 * a fault, its answer goes the usual way; where it says normal, or nothing, the window is escalated, and is `not-normal`
 * until a server names it. While the point learns, its windows are `unknown`. Throws `WINDOW_INVALID` for a window that is none: empty,
 * or with samples that are not finite. Without the
 * shaft speed that the model needs, a window is `unknown` and is not sent: no server of the task can judge it either. Whatever
 * else keeps the model from answering is an invalid answer, which is escalated: the window is one, and somebody else may be able to judge it.
 */
export async function assess(
  window: Window,
  model: LocalModel,
  policy: Pick<Decider, 'decide' | 'audit'>,
  { numbers, ...context }: DecisionContext & Partial<Pick<WindowQuote, 'numbers'>>,
  judge?: WindowJudge,
): Promise<Assessment> {
  checkWindow(window)
  const commissioned = judge?.take(window)
  if (commissioned?.kind === 'learning') return learning(commissioned, model, window)
  const judged = commissioned?.kind === 'judged' ? commissioned : undefined
  if (judged?.judgement.normal) {
    const decision: Decision = {
      action: 'accept',
      reason: 'within-limit',
      numbers: { ...numbers, ...numbersOf(judged, context.price) },
    }
    return {
      ...answerOf(judged, model),
      decision: policy.audit?.(decision, context) ?? decision,
      features: featuresOf(window),
    }
  }
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
  const normal = model.bundle?.description.normal
  const unjudgeable = !valid && lacksSpeed(window, model.bundle?.description.input)
  if (judged && (!valid || local.label === normal)) {
    const decision: Decision = {
      action: unjudgeable ? 'accept' : 'escalate',
      reason: 'above-limit',
      numbers: { ...numbers, ...numbersOf(judged, context.price) },
    }
    return { ...answerOf(judged, model), decision, features: featuresOf(window, answer?.features) }
  }
  const decision: Decision = valid
    ? policy.decide(local, context)
    : unjudgeable
      ? { action: 'accept', reason: 'no-shaft-speed', numbers: { price: context.price } }
      : { action: 'escalate', reason: 'invalid-output', numbers: { price: context.price } }
  decision.numbers = { ...numbers, ...decision.numbers }
  return { local, valid, decision, features: featuresOf(window, answer?.features) }
}

type Judged = Extract<Commissioned, { kind: 'judged' }>

/** What a commissioned point says of a window that no model names. */
export const notNormalLabel = 'not-normal'

/**
 * The answer of the limit alone. Its confidence is that with which the limit keeps its false-alarm rate: of the limit, not
 * of this window.
 */
function answerOf(
  { judgement, confidence, by }: Judged,
  model: LocalModel,
): Pick<Assessment, 'local' | 'valid' | 'by'> {
  const classes = [model.bundle?.description.normal ?? 'normal', notNormalLabel]
  const probabilities = judgement.normal ? [confidence, 1 - confidence] : [1 - confidence, confidence]
  const label = classes[judgement.normal ? 0 : 1]!
  return { local: { label, confidence, probabilities, classes }, valid: true, by }
}

const numbersOf = ({ judgement: { value, limit, score } }: Judged, price: number): Record<string, number> => ({
  value,
  limit,
  score,
  price,
})

/** Nothing is said of a machine that is not known yet: no fault, and not normal either. */
function learning(
  { windows, wanted }: Extract<Commissioned, { kind: 'learning' }>,
  { classes }: LocalModel,
  window: Window,
): Assessment {
  return {
    local: { label: unknownLabel, confidence: Number.NaN, probabilities: [], classes },
    valid: false,
    decision: { action: 'accept', reason: 'learning', numbers: { windows, wanted } },
    features: featuresOf(window),
  }
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

function featuresOf(window: Window, known?: Record<string, number>): Record<string, number> {
  if (window.shape.length !== 1) return {} // An image has no vibration.
  const all: Record<string, number> = known ?? { ...timeFeatures(window.samples) }
  all.velocityRms ??= velocityRms(amplitudeSpectrum(window.samples, window.rateHz), window.samples.length)
  return finite(Object.fromEntries(publishedFeatures.map(name => [name, all[name] ?? Number.NaN])))
}

/** Finite numbers alone, to five significant digits: JSON has no others, and more digits would be bytes without meaning. */
export function finite(numbers: Record<string, number>): Record<string, number> {
  const kept: Record<string, number> = {}
  for (const [name, value] of Object.entries(numbers)) if (Number.isFinite(value)) kept[name] = rounded(value)
  return kept
}

export const rounded = (value: number): number => Number(value.toPrecision(5))
