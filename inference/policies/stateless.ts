import { FaultlineError } from '@faultline/protocol'
import { isValid } from '../classification.ts'
import type { Decision, DecisionContext, LocalResult, Policy, PolicyState } from './policy.ts'
import { checkState, invalidOutput } from './state.ts'

const VERSION = 1

/**
 * What all policies without memory share: invalid model output is escalated before the policy is asked, feedback
 * changes nothing, and a snapshot holds no data.
 */
export abstract class StatelessPolicy implements Policy {
  abstract readonly name: string
  readonly #model: string | undefined

  /** @param model Digest of the local model, kept in snapshots. */
  constructor(model?: string) {
    this.#model = model
  }

  decide(local: LocalResult, context: DecisionContext): Decision {
    if (!isValid(local.probabilities, local.classes.length)) return invalidOutput(context)
    return this.judge(local, context)
  }

  /** Decides on an answer that is known to be valid. */
  protected abstract judge(local: LocalResult, context: DecisionContext): Decision

  learn(): void {}

  snapshot(): PolicyState {
    const state: PolicyState = { policy: this.name, version: VERSION, data: null }
    if (this.#model !== undefined) state.model = this.#model
    return state
  }

  restore(state: PolicyState): void {
    checkState(state, this.name, VERSION)
    if (state.data !== null) throw new FaultlineError('POLICY_STATE_INVALID', `${this.name} keeps no data`)
  }
}
