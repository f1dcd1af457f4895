import { z } from 'zod'
import { AccuracyBounds } from './accuracy-bounds.ts'
import { Bins } from './bins.ts'

export interface CounterOptions {
  bins: number
  /** Edges between the bins, where they are known: at most `bins - 1`. */
  edges?: readonly number[]
  /** Answers after which edges are laid at the quantiles of their doubt. 0: equal width for ever. */
  warmUp: number
}

export interface CounterState {
  /** Null until learned. */
  edges: number[] | null
  asked: number[]
  right: number[]
  /** Confidences so far, and verdicts as [confidence, right]; empty once the edges are known. */
  seen: number[]
  verdicts: [number, number][]
}

/**
 * Counters of right answers per confidence bin. The answers of a good model crowd near 1: bins of equal width tell nothing
 * apart there, and bins of equal counts are so many that are all but certain, each of which has to be proven by itself.
 * So the edges are quantiles of doubt: every bin holds the same sum of 1 - p, which is the same number of errors
 * where p is true. They are given, or learned from the first answers. Until then these count in bins of equal width, and
 * are sorted anew into the learned ones.
 */
export class ConfidenceCounters {
  bounds: AccuracyBounds
  readonly #options: CounterOptions
  #bins: Bins
  #learning: boolean
  #seen: number[] = []
  #verdicts: [number, number][] = []

  constructor(options: CounterOptions) {
    const { edges, bins, warmUp } = options
    this.#options = options
    this.#bins = edges ? new Bins(edges) : Bins.equalWidth(bins)
    this.#learning = edges === undefined && warmUp > 0
    this.bounds = new AccuracyBounds(this.#bins.count)
  }

  /** The bin of an answer that is decided on now. */
  see(confidence: number): number {
    if (this.#learning) {
      this.#seen.push(confidence)
      if (this.#seen.length >= this.#options.warmUp) this.#settle()
    }
    return this.#bins.indexOf(confidence)
  }

  add(confidence: number, isRight: boolean): void {
    // An answer brings one verdict at most; one that repeats without a token is not worth memory without bounds.
    if (this.#learning && this.#verdicts.length < this.#options.warmUp)
      this.#verdicts.push([confidence, isRight ? 1 : 0])
    this.bounds.add(this.#bins.indexOf(confidence), isRight)
  }

  get state(): CounterState {
    return {
      edges: this.#learning ? null : [...this.#bins.edges],
      asked: [...this.bounds.asked],
      right: [...this.bounds.right],
      seen: [...this.#seen],
      verdicts: this.#verdicts.map(([confidence, right]) => [confidence, right]),
    }
  }

  set state({ edges, asked, right, seen, verdicts }: CounterState) {
    this.#learning = edges === null
    this.#bins = edges ? new Bins(edges) : Bins.equalWidth(this.#options.bins)
    this.bounds = new AccuracyBounds(this.#bins.count)
    this.bounds.asked = asked
    this.bounds.right = right
    this.#seen = seen
    this.#verdicts = verdicts
  }

  #settle(): void {
    this.#bins = Bins.quantiles(this.#seen, this.#options.bins, confidence => 1 - confidence)
    this.bounds = new AccuracyBounds(this.#bins.count)
    for (const [confidence, right] of this.#verdicts) this.bounds.add(this.#bins.indexOf(confidence), right === 1)
    this.#learning = false
    this.#seen = []
    this.#verdicts = []
  }
}

const share = z.number().min(0).max(1)
const counts = (bins: number) => z.array(z.int().nonnegative()).min(1).max(bins)

/** Checks a state for counters of at most so many bins. */
export const counterState = ({ bins, edges, warmUp }: CounterOptions): z.ZodType<CounterState> => {
  const most = Math.max(bins, (edges?.length ?? 0) + 1)
  return z
    .strictObject({
      edges: z
        .array(share)
        .max(most - 1)
        .nullable(),
      asked: counts(most),
      right: counts(most),
      seen: z.array(share).max(warmUp),
      verdicts: z.array(z.tuple([share, z.union([z.literal(0), z.literal(1)])])).max(warmUp),
    })
    .refine(state => {
      const count = state.edges === null ? bins : state.edges.length + 1
      return state.asked.length === count && state.right.length === count
    })
}
