import { z } from 'zod'
import { ConfidenceCells } from '../pooling/confidence-cells.ts'
import { capped, type Evidence, type Poolable } from '../pooling/evidence.ts'
import { ConfidenceCounters, type CounterOptions, type CounterState, counterState } from './confidence-counters.ts'
import { factory, type PolicyModel, risingShares } from './factory.ts'
import type { Decision, DecisionContext, Feedback, LocalResult } from './policy.ts'
import { isWrong, StatefulPolicy } from './stateful.ts'

export interface HiLcbOptions {
  /** Width of the confidence bounds; the theory wants more than 0.5. */
  alpha: number
  counters: CounterOptions
  model?: string
}

/**
 * HI-LCB-lite after arXiv 2508.08985 (Chattopadhyay, Sutar, Champati, Moharir), with a known price: escalates while
 * 1 - L >= price, L being the lower confidence bound C / N - sqrt(alpha ln t / N) of the accuracy in the answer's
 * confidence bin. Doubt escalates, escalation brings data, and data ends the doubt. O(1) per window, without chance.
 */
export class HiLcbLitePolicy extends StatefulPolicy<CounterState> implements Poolable {
  readonly name: string = 'hi-lcb-lite'
  protected readonly memorySchema: z.ZodType<CounterState>
  readonly #alpha: number
  readonly #counters: ConfidenceCounters

  constructor({ alpha, counters, model }: HiLcbOptions) {
    super(model)
    this.#alpha = alpha
    this.#counters = new ConfidenceCounters(counters)
    this.memorySchema = counterState(counters)
  }

  protected judge({ confidence }: LocalResult, { price }: DecisionContext): Decision {
    const bin = this.#counters.see(confidence)
    const rounds = this.rounds + this.#counters.seenElsewhere
    const bound = this.lowerBound(this.#counters, bin, this.#alpha * Math.log(rounds))
    // An accuracy is no less than 0, and JSON has no infinity.
    const numbers = { score: confidence, bound: Math.max(0, bound), asked: this.#counters.bounds.asked[bin]!, price }
    const token = this.token()
    if (1 - bound < price) return { action: 'accept', reason: 'proven', numbers, token }
    const explores = 1 - this.#counters.bounds.share(bin) < price
    return { action: 'escalate', reason: 'not-proven', numbers, token, explores }
  }

  /** Learns from audits as from escalations: they are as fair a sample of their bin. */
  protected study(feedback: Feedback): void {
    this.#counters.add(feedback.local.confidence, !isWrong(feedback))
  }

  get evidenceKind(): string {
    return ConfidenceCells.kind
  }

  evidence(): Evidence | undefined {
    return this.#counters.evidence
  }

  adopt(evidence: Evidence): void {
    this.#counters.adopt(ConfidenceCells.read(capped(evidence)))
  }

  protected lowerBound({ bounds }: ConfidenceCounters, bin: number, spread: number): number {
    return bounds.lower(bin, spread)
  }

  protected memory(): CounterState {
    return this.#counters.state
  }

  protected recall(memory: CounterState): void {
    this.#counters.state = memory
  }
}

/** Shared by both forms of HI-LCB. */
export const hiLcbParameters = z
  .strictObject({
    alpha: z.number().positive().max(10).default(0.52),
    bins: z.int().min(1).max(1_024).default(16),
    binning: z.enum(['quantile', 'equal-width']).default('quantile'),
    edges: risingShares.optional(),
    warmUp: z.int().min(1).max(10_000).default(200),
  })
  .refine(given => !(given.edges && given.binning === 'equal-width'), 'edges or bins of equal width, not both')

/** Options from checked parameters: their edges first, then the bundle's, then learned ones. */
export function hiLcbOptions(given: z.infer<typeof hiLcbParameters>, { digest, edges }: PolicyModel): HiLcbOptions {
  const { alpha, bins, binning, warmUp } = given
  const counters =
    binning === 'equal-width' ? { bins, warmUp: 0 } : { bins, warmUp, edges: given.edges ?? usable(edges) }
  return { alpha, counters, model: digest }
}

const usable = (edges: readonly number[] | undefined) => (edges && edges.length > 0 ? edges : undefined)

export const createHiLcbLite = factory(
  'hi-lcb-lite',
  hiLcbParameters,
  (given, model) => new HiLcbLitePolicy(hiLcbOptions(given, model)),
)
