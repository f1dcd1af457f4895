import type { Classification } from '../classification.ts'

/** A local model's answer, with what a policy needs to judge it. */
export interface LocalResult extends Classification {
  /** The classes the probabilities stand for, in order. */
  classes: readonly string[]
}

export interface DecisionContext {
  /** Price of one escalation in units of one wrong accepted answer (the papers' beta). */
  price: number
}

export interface Decision {
  action: 'accept' | 'escalate'
  /** Machine-readable reason, kebab-case: `confident`, `below-threshold`, `not-normal`, `invalid-output`, … */
  reason: string
  /** The numbers behind the decision: score, threshold, price. */
  numbers: Record<string, number>
}

/** What came of an escalation. Given at most once per escalation; none when it stayed unanswered. */
export interface Feedback {
  local: LocalResult
  /** The server's label, treated as the truth the way the papers do. */
  remote: Classification
  price: number
}

/** A policy's whole memory: small, serialisable, versioned. */
export interface PolicyState {
  policy: string
  version: number
  /** Digest of the local model the state was learned with; a different digest resets it. */
  model?: string
  data: unknown
}

/**
 * Decides per window whether the local answer is accepted or the window is escalated. Plain, synchronous and
 * deterministic given its seed. Invalid model output is always escalated: it is never "fine".
 */
export interface Policy {
  readonly name: string
  decide(local: LocalResult, context: DecisionContext): Decision
  learn(feedback: Feedback): void
  snapshot(): PolicyState
  /** Restores a snapshot of the same policy and version; throws `POLICY_STATE_INVALID` otherwise. */
  restore(state: PolicyState): void
}
