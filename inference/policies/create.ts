import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import { AlwaysPolicy } from './always.ts'
import { NeverPolicy } from './never.ts'
import type { Policy } from './policy.ts'
import { RelevancePolicy } from './relevance.ts'
import { ThresholdPolicy } from './threshold.ts'

/** A policy as configuration names it. */
export interface PolicySettings {
  name: string
  parameters?: Record<string, unknown>
}

/** What policies take from the local model's bundle where the settings leave it open. */
export interface PolicyModel {
  /** Digest, kept in snapshots. */
  digest?: string
  /** The class that means nothing is wrong. */
  normal?: string
  /** The calibrated threshold. */
  threshold?: number
}

const confidence = z.number().min(0).max(1)

/** Used by `relevance` where neither settings nor bundle say how sure "normal" has to be. */
const EVEN_ODDS = 0.5

const factories: Record<string, (parameters: unknown, model: PolicyModel) => Policy> = {
  never: (parameters, { digest }) => {
    check('never', z.strictObject({}), parameters)
    return new NeverPolicy(digest)
  },
  always: (parameters, { digest }) => {
    check('always', z.strictObject({}), parameters)
    return new AlwaysPolicy(digest)
  },
  threshold: (parameters, model) => {
    const given = check('threshold', z.strictObject({ threshold: confidence.optional() }), parameters)
    const threshold = given.threshold ?? model.threshold
    if (threshold === undefined)
      throw new FaultlineError('CONFIG_INVALID', 'policy threshold: give a threshold; the bundle has none')
    return new ThresholdPolicy({ threshold, model: model.digest })
  },
  relevance: (parameters, model) => {
    const schema = z.strictObject({ normal: z.string().optional(), confidence: confidence.optional() })
    const given = check('relevance', schema, parameters)
    const normal = given.normal ?? model.normal
    if (normal === undefined)
      throw new FaultlineError('CONFIG_INVALID', 'policy relevance: give the normal class; the bundle names none')
    return new RelevancePolicy({
      normal,
      confidence: given.confidence ?? model.threshold ?? EVEN_ODDS,
      model: model.digest,
    })
  },
}

export const policyNames: readonly string[] = Object.keys(factories)

/** Makes a policy. Throws `POLICY_UNKNOWN`, or `CONFIG_INVALID` naming the parameter. */
export function createPolicy({ name, parameters = {} }: PolicySettings, model: PolicyModel = {}): Policy {
  const factory = Object.hasOwn(factories, name) ? factories[name] : undefined
  if (!factory)
    throw new FaultlineError('POLICY_UNKNOWN', `there is no policy "${name}"; there are ${policyNames.join(', ')}`)
  return factory(parameters, model)
}

function check<T>(policy: string, schema: z.ZodType<T>, parameters: unknown): T {
  const parsed = schema.safeParse(parameters)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const field = issue?.path.join('.') || 'parameters'
  throw new FaultlineError('CONFIG_INVALID', `policy ${policy}: ${field}: ${issue?.message ?? 'is wrong'}`)
}
