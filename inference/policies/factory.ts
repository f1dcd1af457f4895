import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import type { BundleDescription } from '../bundle/description.ts'
import type { CalibrationModel } from '../calibration/calibration.ts'
import type { ServerTrustModel } from '../calibration/server-trust.ts'
import type { Policy } from './policy.ts'

/** What policies take from the local model's bundle where the settings leave it open. */
export interface PolicyModel {
  /** Digest, kept in snapshots. */
  digest?: string
  /** The class that means nothing is wrong. */
  normal?: string
  /** The calibrated threshold. */
  threshold?: number
  /** Edges between bins of confidence, rising, as validation data suggest them. */
  edges?: readonly number[]
  /** What maps answers to the probability that they are right. */
  calibration?: CalibrationModel
  /** How far the server is to be believed where the two differ; the server is taken for the truth without it. */
  server?: ServerTrustModel
}

/** What a bundle says to policies. */
export const policyModelOf = (
  digest: string,
  description?: Pick<BundleDescription, 'normal'> & {
    calibration: Pick<BundleDescription['calibration'], 'threshold' | 'correctness' | 'server'>
  },
): PolicyModel => ({
  digest,
  normal: description?.normal,
  threshold: description?.calibration.threshold,
  calibration: description?.calibration.correctness,
  server: description?.calibration.server,
})

/** Makes a policy from parameters nobody has checked yet. */
export type PolicyFactory = (parameters: unknown, model: PolicyModel, seed: number) => Policy

/** A factory that throws `CONFIG_INVALID`, naming the policy and the parameter, before it makes anything. */
export function factory<T>(
  policy: string,
  schema: z.ZodType<T>,
  make: (parameters: T, model: PolicyModel, seed: number) => Policy,
): PolicyFactory {
  return (parameters, model, seed) => {
    const parsed = schema.safeParse(parameters)
    if (parsed.success) return make(parsed.data, model, seed)
    const issue = parsed.error.issues[0]
    const field = issue?.path.join('.') || 'parameters'
    throw new FaultlineError('CONFIG_INVALID', `policy ${policy}: ${field}: ${issue?.message ?? 'is wrong'}`)
  }
}

/** What the bundle may give in place of a parameter. Throws `CONFIG_INVALID` where neither does. */
export function required<T>(policy: string, what: string, value: T | undefined): T {
  if (value !== undefined) return value
  throw new FaultlineError('CONFIG_INVALID', `policy ${policy}: give ${what}; the bundle has none`)
}

/** 0..1, both included. */
export const share = z.number().min(0).max(1)

/** Above 0, at most 1. */
export const positiveShare = z.number().positive().max(1)

/** Numbers of 0..1, each above the one before. */
export const risingShares = z
  .array(share)
  .min(1)
  .max(1_024)
  .refine(values => values.every((value, i) => i === 0 || value > values[i - 1]!), 'has to rise')
