import type { Classification } from '../classification.ts'
import type { Poolable } from '../pooling/evidence.ts'

/** A local model's answer, with what a policy needs to judge it. */
export interface LocalResult extends Classification {
  /** The classes the probabilities stand for, in order. */
  classes: readonly string[]
}

/** What wrong accepted answers cost, in the unit of the price. */
export interface ErrorCosts {
  /** A fault accepted as normal (dFN). */
  missedFault: number
  /** Normal accepted as a fault (dFP). */
  falseAlarm: number
  /** A fault accepted under another fault's name. */
  wrongFault: number
}

export interface DecisionContext {
  /** Price of one escalation in units of one wrong accepted answer (the papers' beta). */
  price: number
  /** Of a price list; without one a policy goes by its own parameters. */
  costs?: ErrorCosts
  /** The measurement point, where windows of several share a policy. */
  point?: string
  /** When the window ended, in ms since 1970: the only clock a policy has. */
  at?: number
}

/**
 * What a policy has to know again of a decision when its verdict comes, in numbers that survive JSON. It means nothing to
 * anybody else: whoever keeps the window keeps its token, and hands it back with the verdict.
 */
export type DecisionToken = Readonly<Record<string, number>>

export interface Decision {
  action: 'accept' | 'escalate'
  /** Machine-readable reason, kebab-case: `confident`, `below-threshold`, `not-normal`, `invalid-output`, … */
  reason: string
  /** The numbers behind the decision: score, threshold, price. */
  numbers: Record<string, number>
  /** Of policies that learn. Belongs into the feedback, however late. */
  token?: DecisionToken
  /** True of an escalation to learn from: by what is known so far, the answer would be accepted. */
  explores?: boolean
  /** The answer while an episode holds: what a server said of windows like this one. The local answer where absent. */
  answer?: { label: string; confidence: number }
}

/** What came of an escalation. Given at most once per escalation; none when it stayed unanswered. */
export interface Feedback {
  local: LocalResult
  /** The server's label, treated as the truth the way the papers do. */
  remote: Classification
  price: number
  /** As they were when it was decided. */
  costs?: ErrorCosts
  /** The token of the decision, as it was given. Without one a policy cannot tell a repeated verdict from a new one. */
  token?: DecisionToken
  /** The measurement point, as it was when it was decided. */
  point?: string
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
export interface Policy extends Partial<Poolable> {
  readonly name: string
  /**
   * True of a policy whose theory wants the truth of every window. On a device there is none for accepted windows; a
   * replay over labelled windows has it, and gives feedback for every decision of such a policy.
   */
  readonly fullFeedback?: boolean
  decide(local: LocalResult, context: DecisionContext): Decision
  learn(feedback: Feedback): void
  snapshot(): PolicyState
  /** Restores a snapshot of the same policy and version; throws `POLICY_STATE_INVALID` otherwise. */
  restore(state: PolicyState): void
}
