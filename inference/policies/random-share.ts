import { z } from 'zod'
import { Random, type RandomState } from '../random.ts'
import { factory, share } from './factory.ts'
import type { Decision, DecisionContext, LocalResult } from './policy.ts'
import { randomState } from './state.ts'
import { StatefulPolicy } from './stateful.ts'

export interface RandomShareOptions {
  /** Share of all windows that is escalated, 0..1. */
  share: number
  seed: number
  model?: string
}

const memorySchema = z.strictObject({ random: randomState })

/**
 * Escalates a fixed share of the windows by lot: what any policy that escalates as much has to beat, since it looks at
 * nothing.
 */
export class RandomSharePolicy extends StatefulPolicy<{ random: RandomState }> {
  readonly name = 'random'
  protected readonly memorySchema = memorySchema
  readonly #share: number
  #random: Random

  constructor({ share, seed, model }: RandomShareOptions) {
    super(model)
    this.#share = share
    this.#random = new Random(seed)
  }

  protected judge({ confidence }: LocalResult, { price }: DecisionContext): Decision {
    const numbers = { score: confidence, share: this.#share, price }
    return this.#random.uniform() < this.#share
      ? { action: 'escalate', reason: 'drawn', numbers }
      : { action: 'accept', reason: 'not-drawn', numbers }
  }

  protected study(): void {}

  protected memory() {
    return { random: this.#random.state }
  }

  protected recall({ random }: { random: RandomState }): void {
    this.#random = new Random(random)
  }
}

export const createRandomShare = factory(
  'random',
  z.strictObject({ share: share.default(0.1) }),
  (given, { digest }, seed) => new RandomSharePolicy({ ...given, seed, model: digest }),
)
