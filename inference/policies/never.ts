import { z } from 'zod'
import { factory } from './factory.ts'
import type { Decision, DecisionContext, LocalResult } from './policy.ts'
import { StatelessPolicy } from './stateless.ts'

/** Accepts every valid answer: the device alone, the lower bound of bytes sent. Invalid output still escalates. */
export class NeverPolicy extends StatelessPolicy {
  readonly name = 'never'

  protected judge({ confidence }: LocalResult, { price }: DecisionContext): Decision {
    return { action: 'accept', reason: 'always-accepts', numbers: { score: confidence, price } }
  }
}

export const createNever = factory('never', z.strictObject({}), (_, { digest }) => new NeverPolicy(digest))
