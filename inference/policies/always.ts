import type { Decision, DecisionContext, LocalResult } from './policy.ts'
import { StatelessPolicy } from './stateless.ts'

/** Escalates every window: the server alone, the upper bound of bytes sent. */
export class AlwaysPolicy extends StatelessPolicy {
  readonly name = 'always'

  protected judge({ confidence }: LocalResult, { price }: DecisionContext): Decision {
    return { action: 'escalate', reason: 'always-escalates', numbers: { score: confidence, price } }
  }
}
