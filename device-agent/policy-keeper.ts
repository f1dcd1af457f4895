import { isDeepStrictEqual } from 'node:util'
import { AuditedPolicy, createPolicy, EpisodicPolicy, type Feedback, type Policy } from '@faultline/inference'
import { toFaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { LocalModel } from './assessment.ts'
import type { AuditKeeper } from './audit-keeper.ts'
import type { RuntimeSettings } from './configuration.ts'
import type { PolicyStateKey, PolicyStates } from './policy-states.ts'

export type PolicyChoice = Pick<RuntimeSettings, 'policy' | 'auditRate' | 'episodes'>

export interface PolicyKeeperOptions {
  states: PolicyStates
  model: LocalModel
  /** Turns the audit rate of settings into that of a policy. */
  audits: Pick<AuditKeeper, 'rate'>
  seed: number
  logger: Logger
  /** How long something learned may wait until it is saved. */
  saveAfterMs?: number
}

/** What decides about windows. */
export type Decider = Pick<Policy, 'decide' | 'learn'> & Partial<Pick<AuditedPolicy, 'audit'>>

/**
 * Makes the policy that settings name, audits included, and keeps what it learns. A state belongs to the digest of the
 * local model, and to the policy's name and parameters: with another of these the policy begins anew, and with
 * the old ones again (a rollback) it goes on where it was. Saved soon after something was learned, when the policy
 * changes and at the stop, so that a crash costs a minute of learning and a card is not worn out.
 */
export class PolicyKeeper implements Decider {
  private readonly options: PolicyKeeperOptions
  private current: { policy: AuditedPolicy; choice: PolicyChoice } | undefined
  private saving: NodeJS.Timeout | undefined

  constructor(options: PolicyKeeperOptions) {
    this.options = options
  }

  /** Puts a policy in force. Throws the errors of `createPolicy` before anything has changed. */
  use(choice: PolicyChoice): void {
    const policy = this.make(choice)
    const { current } = this
    // Another price or audit rate is no reason to forget what was learned.
    if (current && isDeepStrictEqual(choice.policy, current.choice.policy)) policy.restore(current.policy.snapshot())
    else {
      this.save()
      this.restore(policy, this.keyOf(choice))
    }
    this.current = { policy, choice }
  }

  decide(...given: Parameters<Policy['decide']>): ReturnType<Policy['decide']> {
    return this.policy.decide(...given)
  }

  /** Draws the audits of windows that were accepted without asking the policy. */
  audit(...given: Parameters<AuditedPolicy['audit']>): ReturnType<AuditedPolicy['audit']> {
    return this.policy.audit(...given)
  }

  learn(feedback: Feedback): void {
    this.policy.learn(feedback)
    this.saving ??= setTimeout(() => this.save(), this.options.saveAfterMs ?? 60_000)
  }

  /** Saves what there is. Never throws: a full disk is no reason to stop deciding. */
  save(): void {
    clearTimeout(this.saving)
    this.saving = undefined
    if (!this.current) return
    const { policy, choice } = this.current
    try {
      this.options.states.write(this.keyOf(choice), policy.snapshot())
    } catch (thrown) {
      this.options.logger.error({ error: toFaultlineError(thrown).message }, 'policy state not saved')
    }
  }

  private get policy(): AuditedPolicy {
    if (!this.current) throw new Error('there is no policy before use()')
    return this.current.policy
  }

  private make({ policy, auditRate, episodes }: PolicyChoice): AuditedPolicy {
    const { model, audits, seed } = this.options
    const description = model.bundle?.description
    const known = {
      digest: model.model.digest,
      normal: description?.normal,
      threshold: description?.calibration.threshold,
      calibration: description?.calibration.correctness,
    }
    return new AuditedPolicy(new EpisodicPolicy(createPolicy(policy, known, seed), episodes), {
      rate: audits.rate(auditRate),
      seed,
    })
  }

  /** Damaged or of another version of the software: learned anew, which costs escalations and nothing else. */
  private restore(policy: AuditedPolicy, key: PolicyStateKey): void {
    const { states, logger } = this.options
    try {
      const state = states.read(key)
      if (state !== undefined) policy.restore(state)
    } catch (thrown) {
      logger.warn({ policy: policy.name, error: toFaultlineError(thrown).message }, 'kept policy state discarded')
    }
  }

  private keyOf({ policy: { name, parameters } }: PolicyChoice): PolicyStateKey {
    return { model: this.options.model.model.digest, policy: `${name} ${canonical(parameters)}` }
  }
}

/** JSON with the names of every object in order, so that the same parameters give the same text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
}
