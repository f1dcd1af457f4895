import { isDeepStrictEqual } from 'node:util'
import {
  AuditedPolicy,
  createPolicy,
  EpisodicPolicy,
  type Evidence,
  type Feedback,
  type Policy,
  policyModelOf,
} from '@faultline/inference'
import { toFaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { RuntimeSettings } from '../control/configuration.ts'
import type { LocalModel } from './assessment.ts'
import type { AuditKeeper } from './audit-keeper.ts'
import type { PolicyStateKey, PolicyStates } from './policy-states.ts'

export type PolicyChoice = Pick<RuntimeSettings, 'policy' | 'auditRate' | 'episodes'>

export interface PolicyKeeperOptions {
  states: PolicyStates
  model: LocalModel
  /** Of the machines it decides about. Like machines share evidence; without a type nothing is shared. */
  machineType?: string
  /** Turns the audit rate of settings into that of a policy. */
  audits: Pick<AuditKeeper, 'rate'>
  seed: number
  logger: Logger
  /** How long something learned may wait until it is saved. */
  saveAfterMs?: number
}

/** Fewer say too little to be worth a message. */
const fewestVerdicts = 20

/** What decides about windows. */
export type Decider = Pick<Policy, 'decide' | 'learn'> & Partial<Pick<AuditedPolicy, 'audit'>>

/**
 * Makes the policy that settings name, audits included, and keeps what it learns. A state belongs to the digest of the
 * local model, to the policy's name and parameters, and to the type of machine: with another of these the policy begins anew, and with
 * the old ones again (a rollback) it goes on where it was. Saved soon after something was learned, when the policy
 * changes and at the stop, so that a crash costs a minute of learning and a card is not worn out.
 */
export class PolicyKeeper implements Decider {
  private readonly options: PolicyKeeperOptions
  private current: { policy: AuditedPolicy; choice: PolicyChoice } | undefined
  private saving: NodeJS.Timeout | undefined
  /** True while the evidence of others is welcome: nothing was kept here, and nothing told. */
  private isNew = false
  /** Verdicts behind the evidence that others know. */
  private told = 0

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
      this.isNew = !this.restore(policy, this.keyOf(choice))
      this.told = 0
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
      // Without a verdict there is nothing to keep, and the next start may still begin with what others learned.
      if (this.isNew && policy.evidenceKind && !policy.evidence()) return
      this.options.states.write(this.keyOf(choice), policy.snapshot())
    } catch (thrown) {
      this.options.logger.error({ error: toFaultlineError(thrown).message }, 'policy state not saved')
    }
  }

  /** Evidence from the verdicts here, once there is more than others know of; they know it then. */
  untold(): Evidence | undefined {
    const evidence = this.policy.evidence()
    if (!evidence || evidence.verdicts < fewestVerdicts || evidence.verdicts === this.told) return undefined
    this.told = evidence.verdicts
    // From now on the pool may hold what was learned here, which must not be counted twice.
    this.isNew = false
    return evidence
  }

  /** Begins with the evidence of others, once, where there is none of its own; true then. Never throws. */
  adopt(evidence: Evidence): boolean {
    const { policy } = this
    if (!this.isNew || evidence.kind !== policy.evidenceKind) return false
    const { logger, machineType } = this.options
    try {
      policy.adopt(evidence)
      this.isNew = false
      this.save()
      logger.info({ policy: policy.name, machineType, verdicts: evidence.verdicts }, 'begins with what others learned')
      return true
    } catch (thrown) {
      logger.warn({ policy: policy.name, error: toFaultlineError(thrown).message }, 'pool not used')
      return false
    }
  }

  private get policy(): AuditedPolicy {
    if (!this.current) throw new Error('there is no policy before use()')
    return this.current.policy
  }

  private make({ policy, auditRate, episodes }: PolicyChoice): AuditedPolicy {
    const { model, audits, seed } = this.options
    const known = policyModelOf(model.model.digest, model.bundle?.description)
    return new AuditedPolicy(new EpisodicPolicy(createPolicy(policy, known, seed), episodes), {
      rate: audits.rate(auditRate),
      seed,
    })
  }

  /** Damaged or of another version of the software: learned anew, which costs escalations and nothing else. */
  private restore(policy: AuditedPolicy, key: PolicyStateKey): boolean {
    const { states, logger } = this.options
    try {
      const state = states.read(key)
      if (state === undefined) return false
      policy.restore(state)
      return true
    } catch (thrown) {
      logger.warn({ policy: policy.name, error: toFaultlineError(thrown).message }, 'kept policy state discarded')
      return false
    }
  }

  private keyOf({ policy: { name, parameters } }: PolicyChoice): PolicyStateKey {
    const { model, machineType } = this.options
    return { model: model.model.digest, policy: [name, canonical(parameters), machineType].join(' ').trim() }
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
