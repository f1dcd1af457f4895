import { FaultlineError } from '@faultline/protocol'
import { createAlways } from './always.ts'
import { createCalibrated } from './calibrated.ts'
import { createDefault } from './default.ts'
import { createEntropy } from './entropy.ts'
import type { PolicyFactory, PolicyModel } from './factory.ts'
import { createH2T2 } from './h2t2.ts'
import { createHiLcb } from './hi-lcb.ts'
import { createHiLcbLite } from './hi-lcb-lite.ts'
import { createHilF } from './hil-f.ts'
import { createHilN } from './hil-n.ts'
import { createLogisticTop2 } from './logistic-top2.ts'
import { createMargin } from './margin.ts'
import { createNever } from './never.ts'
import type { Policy } from './policy.ts'
import { createRandomShare } from './random-share.ts'
import { createRelevance } from './relevance.ts'
import { createThreshold } from './threshold.ts'

/** A policy as configuration names it. */
export interface PolicySettings {
  name: string
  parameters?: Record<string, unknown>
}

const factories: Record<string, PolicyFactory> = {
  default: createDefault,
  never: createNever,
  always: createAlways,
  random: createRandomShare,
  threshold: createThreshold,
  margin: createMargin,
  entropy: createEntropy,
  'logistic-top2': createLogisticTop2,
  relevance: createRelevance,
  calibrated: createCalibrated,
  'hil-f': createHilF,
  'hil-n': createHilN,
  'hi-lcb': createHiLcb,
  'hi-lcb-lite': createHiLcbLite,
  h2t2: createH2T2,
}

export const policyNames: readonly string[] = Object.keys(factories)

/**
 * Makes a policy. Throws `POLICY_UNKNOWN`, or `CONFIG_INVALID` naming the parameter.
 * @param seed Of the policies that draw lots. Audits with the same seed draw from a sequence of their own.
 */
export function createPolicy(
  { name, parameters = {} }: PolicySettings,
  model: PolicyModel = {},
  seed: number = 0,
): Policy {
  const make = Object.hasOwn(factories, name) ? factories[name] : undefined
  if (!make)
    throw new FaultlineError('POLICY_UNKNOWN', `there is no policy "${name}"; there are ${policyNames.join(', ')}`)
  return make(parameters, model, seed)
}
