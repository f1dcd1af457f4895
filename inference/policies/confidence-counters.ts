import { z } from 'zod'
import { type CellState, ConfidenceCells, sumOf } from '../pooling/confidence-cells.ts'
import type { Evidence } from '../pooling/evidence.ts'
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
  /** Own answers and verdicts, for others. */
  own: CellState
  /** Answers of others behind the prior. */
  seenElsewhere: number
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
  seenElsewhere = 0
  readonly #options: CounterOptions
  #bins: Bins
  #learning: boolean
  #seen: number[] = []
  #verdicts: [number, number][] = []
  readonly #own = new ConfidenceCells()

  constructor(options: CounterOptions) {
    const { edges, bins, warmUp } = options
    this.#options = options
    this.#bins = edges ? new Bins(edges) : Bins.equalWidth(bins)
    this.#learning = edges === undefined && warmUp > 0
    this.bounds = new AccuracyBounds(this.#bins.count)
  }

  /** The bin of an answer that is decided on now. */
  see(confidence: number): number {
    this.#own.see(confidence)
    if (this.#learning) {
      this.#seen.push(confidence)
      if (this.#seen.length >= this.#options.warmUp)
        this.#settle(Bins.quantiles(this.#seen, this.#options.bins, confidence => 1 - confidence))
    }
    return this.#bins.indexOf(confidence)
  }

  add(confidence: number, isRight: boolean): void {
    // An answer brings one verdict at most; one that repeats without a token is not worth memory without bounds.
    if (this.#learning && this.#verdicts.length < this.#options.warmUp)
      this.#verdicts.push([confidence, isRight ? 1 : 0])
    this.bounds.add(this.#bins.indexOf(confidence), isRight)
    this.#own.add(confidence, isRight)
  }

  get evidence(): Evidence | undefined {
    return this.#own.evidence
  }

  /** Adds what others counted. Edges that are still to be learned are laid where the others' answers are. */
  adopt({ seen, asked, right }: CellState): void {
    if (this.#learning && sumOf(seen) > 0) this.#settle(edgesOf(seen, this.#options.bins))
    for (let cell = 0; cell < ConfidenceCells.count; cell++) {
      const bin = this.#bins.indexOf(ConfidenceCells.within(cell))
      this.bounds.asked[bin]! += asked[cell]!
      this.bounds.right[bin]! += right[cell]!
    }
    this.seenElsewhere += sumOf(seen)
  }

  get state(): CounterState {
    return {
      edges: this.#learning ? null : [...this.#bins.edges],
      asked: [...this.bounds.asked],
      right: [...this.bounds.right],
      seen: [...this.#seen],
      verdicts: this.#verdicts.map(([confidence, right]) => [confidence, right]),
      own: structuredClone(this.#own.state),
      seenElsewhere: this.seenElsewhere,
    }
  }

  set state({ edges, asked, right, seen, verdicts, own, seenElsewhere }: CounterState) {
    this.#learning = edges === null
    this.#bins = edges ? new Bins(edges) : Bins.equalWidth(this.#options.bins)
    this.bounds = new AccuracyBounds(this.#bins.count)
    this.bounds.asked = asked
    this.bounds.right = right
    this.#seen = seen
    this.#verdicts = verdicts
    this.#own.state = own
    this.seenElsewhere = seenElsewhere
  }

  #settle(bins: Bins): void {
    this.#bins = bins
    this.bounds = new AccuracyBounds(this.#bins.count)
    for (const [confidence, right] of this.#verdicts) this.bounds.add(this.#bins.indexOf(confidence), right === 1)
    this.#learning = false
    this.#seen = []
    this.#verdicts = []
  }
}

/** Quantiles of doubt, as `Bins.quantiles` would find them among answers of which only the cell is known. */
function edgesOf(seen: readonly number[], count: number): Bins {
  const weights = new Map(
    seen.map((number, cell) => [ConfidenceCells.from(cell), number * (1 - ConfidenceCells.within(cell))]),
  )
  return Bins.quantiles([...weights.keys()], count, from => weights.get(from)!)
}

const share = z.number().min(0).max(1)
const count = z.number().nonnegative()
const counts = (bins: number) => z.array(count).min(1).max(bins)
const cells = z.array(count).length(ConfidenceCells.count)

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
      own: z.strictObject({ seen: cells, asked: cells, right: cells }),
      seenElsewhere: count,
    })
    .refine(state => {
      const count = state.edges === null ? bins : state.edges.length + 1
      return state.asked.length === count && state.right.length === count
    })
}
