import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import type { Decision, DecisionContext, PolicyState } from './policy.ts'

/** What every policy says of model output that is none. */
export const invalidOutput = ({ price }: DecisionContext): Decision => ({
  action: 'escalate',
  reason: 'invalid-output',
  numbers: { price },
})

const word = z.int().min(0).max(0xffff_ffff)

/** The state of a generator in a snapshot. */
export const randomState = z.tuple([word, word, word, word])

/** Throws `POLICY_STATE_INVALID` unless the state is of this policy and version. */
export function checkState(state: PolicyState, policy: string, version: number): void {
  if (state.policy !== policy || state.version !== version)
    throw new FaultlineError(
      'POLICY_STATE_INVALID',
      `the state is of ${state.policy} version ${state.version}, not ${policy} version ${version}`,
    )
}
