import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import { isValid } from '../classification.ts'
import type { Decision, DecisionContext, DecisionToken, Feedback, LocalResult, Policy, PolicyState } from './policy.ts'
import { RecentRounds } from './recent-rounds.ts'
import { checkState, invalidOutput } from './state.ts'

const VERSION = 1

const envelope = z.strictObject({
  rounds: z.int().nonnegative(),
  verdicts: z.array(z.int().nonnegative()).max(RecentRounds.capacity),
  memory: z.unknown(),
})

/**
 * What all policies with a memory share. Invalid model output is escalated before the policy is asked, and is no round.
 * A verdict counts once, however late it comes, and a lost one leaves no trace: what has to be remembered of a decision
 * travels in its token, not in the policy, so any number of verdicts may be under way, also across a restart.
 */
export abstract class StatefulPolicy<Memory> implements Policy {
  abstract readonly name: string
  /** Checks the memory in a snapshot; sizes included. */
  protected abstract readonly memorySchema: z.ZodType<Memory>
  /** Valid answers decided on so far, the current one included: t in the papers. */
  protected rounds = 0
  readonly #model: string | undefined
  readonly #verdicts = new RecentRounds()

  /** @param model Digest of the local model, kept in snapshots. */
  constructor(model?: string) {
    this.#model = model
  }

  decide(local: LocalResult, context: DecisionContext): Decision {
    if (!isValid(local.probabilities, local.classes.length)) return invalidOutput(context)
    this.rounds++
    return this.judge(local, context)
  }

  learn(feedback: Feedback): void {
    const { local, token } = feedback
    if (!isValid(local.probabilities, local.classes.length)) return
    if (token && !this.#verdicts.add(token.round!)) return
    this.study(feedback)
  }

  snapshot(): PolicyState {
    const data = { rounds: this.rounds, verdicts: this.#verdicts.rounds, memory: this.memory() }
    const state: PolicyState = { policy: this.name, version: VERSION, data }
    if (this.#model !== undefined) state.model = this.#model
    return state
  }

  restore(state: PolicyState): void {
    checkState(state, this.name, VERSION)
    const outer = envelope.safeParse(state.data)
    const inner = this.memorySchema.safeParse(outer.data?.memory)
    if (!outer.success || !inner.success)
      throw new FaultlineError('POLICY_STATE_INVALID', `the state of ${this.name} is damaged or of other parameters`)
    this.rounds = outer.data.rounds
    this.#verdicts.rounds = outer.data.verdicts
    this.recall(inner.data)
  }

  /** Decides on an answer that is known to be valid. */
  protected abstract judge(local: LocalResult, context: DecisionContext): Decision

  /** Learns from a verdict on an answer that is known to be valid, and that is no repetition. */
  protected abstract study(feedback: Feedback): void

  /** A copy of what was learned, plain enough for JSON. */
  protected abstract memory(): Memory

  protected abstract recall(memory: Memory): void

  /** The token of the current round, with what else the policy wants back. */
  protected token(more?: Record<string, number>): DecisionToken {
    return { round: this.rounds, ...more }
  }
}

/** True when the server does not agree with the device: the loss of having accepted, with the server taken for the truth. */
export const isWrong = ({ local, remote }: Feedback): boolean => local.label !== remote.label
