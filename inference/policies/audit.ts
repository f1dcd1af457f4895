import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import { Random } from '../random.ts'
import type { Decision, DecisionContext, LocalResult, Policy, PolicyState } from './policy.ts'
import { checkState, randomState } from './state.ts'
import { innerState, WrappingPolicy } from './wrapping.ts'

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
  inner: innerState,
})

/**
 * Turns a random share of another policy's accepted windows into escalations with the reason `audit`, to learn what
 * acceptance misses. Chosen by a seeded generator that looks at nothing but the count of accepted windows, so the sample
 * is fair. Keeps the inner policy's name and numbers, and adds the rate: what an audit stands for is only known of windows
 * that say how likely they were to be drawn.
 */
export class AuditedPolicy extends WrappingPolicy {
  readonly #rate: (context: DecisionContext) => number
  #random: Random

  /** Throws `CONFIG_INVALID` for a rate outside 0..1. */
  constructor(inner: Policy, { rate, seed }: AuditOptions) {
    super(inner)
    if (typeof rate === 'number' && !(rate >= 0 && rate <= 1))
      throw new FaultlineError('CONFIG_INVALID', `an audit rate is 0..1, not ${rate}`)
    this.#rate = typeof rate === 'number' ? () => rate : rate
    this.#random = new Random(seed + AUDIT_STREAM)
  }

  decide(local: LocalResult, context: DecisionContext): Decision {
    return this.audit(this.inner.decide(local, context), context)
  }

  /** Turns a share of the decisions to accept, whoever made them, into audits. */
  audit(decision: Decision, context: DecisionContext): Decision {
    if (decision.action === 'escalate') return decision
    const auditRate = this.#rate(context)
    const numbers = { ...decision.numbers, auditRate }
    if (this.#random.uniform() >= auditRate) return { ...decision, numbers }
    return { ...decision, action: 'escalate', reason: 'audit', numbers, explores: true }
  }

  snapshot(): PolicyState {
    return this.stateOf('audit', VERSION, { random: this.#random.state })
  }

  restore(state: PolicyState): void {
    checkState(state, 'audit', VERSION)
    const parsed = auditData.safeParse(state.data)
    if (!parsed.success) throw new FaultlineError('POLICY_STATE_INVALID', 'the audit state is damaged')
    this.inner.restore(parsed.data.inner)
    this.#random = new Random(parsed.data.random)
  }
}
