import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import type { Evidence } from '../pooling/evidence.ts'
import { Random } from '../random.ts'
import type { Decision, DecisionContext, Feedback, LocalResult, Policy, PolicyState } from './policy.ts'
import { checkState, randomState } from './state.ts'

export interface AuditOptions {
  /** Share of accepted windows that is escalated anyway, 0..1; may be asked anew for every accepted window. */
  rate: number | ((context: DecisionContext) => number)
  seed: number
}

const VERSION = 1

/** Parts the draws of audits from those of a policy with the same seed: a sample that follows the policy's is not fair. */
const AUDIT_STREAM = 2 ** 32
const auditData = z.strictObject({
  random: randomState,
  inner: z.object({ policy: z.string(), version: z.int(), model: z.string().optional(), data: z.unknown() }),
})

/**
 * Turns a random share of another policy's accepted windows into escalations with the reason `audit`, to learn what
 * acceptance misses. Chosen by a seeded generator that looks at nothing but the count of accepted windows, so the sample
 * is fair. Keeps the inner policy's name and numbers, and adds the rate: what an audit stands for is only known of windows
 * that say how likely they were to be drawn.
 */
export class AuditedPolicy implements Policy {
  readonly #inner: Policy
  readonly #rate: (context: DecisionContext) => number
  #random: Random

  /** Throws `CONFIG_INVALID` for a rate outside 0..1. */
  constructor(inner: Policy, { rate, seed }: AuditOptions) {
    if (typeof rate === 'number' && !(rate >= 0 && rate <= 1))
      throw new FaultlineError('CONFIG_INVALID', `an audit rate is 0..1, not ${rate}`)
    this.#inner = inner
    this.#rate = typeof rate === 'number' ? () => rate : rate
    this.#random = new Random(seed + AUDIT_STREAM)
  }

  get name(): string {
    return this.#inner.name
  }

  get fullFeedback(): boolean {
    return this.#inner.fullFeedback ?? false
  }

  decide(local: LocalResult, context: DecisionContext): Decision {
    return this.audit(this.#inner.decide(local, context), context)
  }

  /** Turns a share of the decisions to accept, whoever made them, into audits. */
  audit(decision: Decision, context: DecisionContext): Decision {
    if (decision.action === 'escalate') return decision
    const auditRate = this.#rate(context)
    const numbers = { ...decision.numbers, auditRate }
    if (this.#random.uniform() >= auditRate) return { ...decision, numbers }
    return { ...decision, action: 'escalate', reason: 'audit', numbers, explores: true }
  }

  learn(feedback: Feedback): void {
    this.#inner.learn(feedback)
  }

  get evidenceKind(): string | undefined {
    return this.#inner.evidenceKind
  }

  evidence(): Evidence | undefined {
    return this.#inner.evidence?.()
  }

  /** Throws `POLICY_STATE_INVALID` where the inner policy takes no evidence, too. */
  adopt(evidence: Evidence): void {
    if (!this.#inner.adopt) throw new FaultlineError('POLICY_STATE_INVALID', `${this.name} takes no evidence of others`)
    this.#inner.adopt(evidence)
  }

  snapshot(): PolicyState {
    const inner = this.#inner.snapshot()
    const state: PolicyState = { policy: 'audit', version: VERSION, data: { random: this.#random.state, inner } }
    if (inner.model !== undefined) state.model = inner.model
    return state
  }

  restore(state: PolicyState): void {
    checkState(state, 'audit', VERSION)
    const parsed = auditData.safeParse(state.data)
    if (!parsed.success) throw new FaultlineError('POLICY_STATE_INVALID', 'the audit state is damaged')
    this.#inner.restore({ ...parsed.data.inner, data: parsed.data.inner.data })
    this.#random = new Random(parsed.data.random)
  }
}
