import { z } from 'zod'
import { factory } from './factory.ts'
import type { Decision, DecisionContext, LocalResult } from './policy.ts'
import { StatelessPolicy } from './stateless.ts'

/** Escalates every window: the server alone, the upper bound of bytes sent. */
export class AlwaysPolicy extends StatelessPolicy {
  readonly name = 'always'

  protected judge({ confidence }: LocalResult, { price }: DecisionContext): Decision {
    return { action: 'escalate', reason: 'always-escalates', numbers: { score: confidence, price } }
  }
}

export const createAlways = factory('always', z.strictObject({}), (_, { digest }) => new AlwaysPolicy(digest))
