import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import type { Evidence } from '../pooling/evidence.ts'
import type { Decision, DecisionContext, Feedback, LocalResult, Policy, PolicyState } from './policy.ts'

/** The wrapped policy's snapshot inside that of the wrapping one. */
export const innerState = z
  .object({ policy: z.string(), version: z.int(), model: z.string().optional(), data: z.unknown() })
  // Zod takes a missing `data` for undefined; a policy's state has the entry.
  .transform((state): PolicyState => ({ ...state, data: state.data }))

/** A policy around another one, whose name it keeps: what it does not change goes through. */
export abstract class WrappingPolicy implements Policy {
  protected readonly inner: Policy

  constructor(inner: Policy) {
    this.inner = inner
  }

  abstract decide(local: LocalResult, context: DecisionContext): Decision
  abstract snapshot(): PolicyState
  abstract restore(state: PolicyState): void

  get name(): string {
    return this.inner.name
  }

  get fullFeedback(): boolean {
    return this.inner.fullFeedback ?? false
  }

  get evidenceKind(): string | undefined {
    return this.inner.evidenceKind
  }

  learn(feedback: Feedback): void {
    this.inner.learn(feedback)
  }

  evidence(): Evidence | undefined {
    return this.inner.evidence?.()
  }

  /** Throws `POLICY_STATE_INVALID` where the inner policy takes no evidence, too. */
  adopt(evidence: Evidence): void {
    if (!this.inner.adopt) throw new FaultlineError('POLICY_STATE_INVALID', `${this.name} takes no evidence of others`)
    this.inner.adopt(evidence)
  }

  /** A snapshot of both, which belongs to the model of the inner one. */
  protected stateOf(policy: string, version: number, own: object): PolicyState {
    const inner = this.inner.snapshot()
    const state: PolicyState = { policy, version, data: { ...own, inner } }
    if (inner.model !== undefined) state.model = inner.model
    return state
  }
}
