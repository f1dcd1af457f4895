import { z } from 'zod'
import { Bins } from '../policies/bins.ts'

/** Outcomes of a bin fade with this many later ones of the same bin, so that a change shows in the end. */
const MEMORY = 500
/** A bin speaks for itself from so many outcomes on. */
const FEWEST = 10
/** Standard deviations between outcomes and predictions that chance is not believed to make. */
const DISAGREEMENT = 3

const count = z.number().nonnegative()

export const residualState = z.strictObject({
  /** Null until the first scores have shown where the quantiles are. */
  edges: z.array(z.number().min(0).max(1)).max(1_024).nullable(),
  seen: z.array(z.number().min(0).max(1)),
  asked: z.array(count),
  right: z.array(count),
  expected: z.array(count),
  spread: z.array(count),
})

export type ResidualState = z.infer<typeof residualState>

export interface ResidualCounterOptions {
  bins: number
  /** Edges between the bins, as a calibration knows them. */
  edges?: readonly number[]
  /** Scores after which the edges are laid, where they are not known. */
  warmUp: number
}

/**
 * What verdicts say of the answers in each bin of the score, beside what was predicted of the same answers. Where the
 * two disagree by more than chance explains, the counters are to be believed: a curve of few parameters cannot follow
 * every dent.
 */
export class ResidualCounters {
  readonly #options: ResidualCounterOptions
  #bins: Bins | undefined
  #seen: number[] = []
  #asked: number[] = []
  #right: number[] = []
  #expected: number[] = []
  #spread: number[] = []

  constructor(options: ResidualCounterOptions) {
    this.#options = options
    if (options.edges) this.#settle(new Bins(options.edges))
  }

  /** Takes notice of a score that is decided on now: the quantiles are of all answers, not of those asked about. */
  see(score: number): void {
    if (this.#bins) return
    this.#seen.push(score)
    if (this.#seen.length < this.#options.warmUp) return
    this.#settle(Bins.quantiles(this.#seen, this.#options.bins, () => 1))
    this.#seen = []
  }

  /** An outcome of an answer with this score, of which `predicted` was P(right). */
  add(score: number, predicted: number, right: boolean): void {
    if (!this.#bins) return
    const bin = this.#bins.indexOf(score)
    const faded = (counts: number[], value: number) => {
      counts[bin] = counts[bin]! * (1 - 1 / MEMORY) + value
    }
    faded(this.#asked, 1)
    faded(this.#right, right ? 1 : 0)
    faded(this.#expected, predicted)
    faded(this.#spread, predicted * (1 - predicted))
  }

  /**
   * One standard error below the share of right answers in the score's bin, where the bin contradicts what was predicted;
   * undefined where it does not. The bound of HI-LCB with alpha ln t in its place is so wide that counters hardly ever
   * would accept; here they need no exploring of their own.
   */
  objection(score: number): number | undefined {
    if (!this.#bins) return undefined
    const bin = this.#bins.indexOf(score)
    const asked = this.#asked[bin]!
    const right = this.#right[bin]!
    if (asked < FEWEST) return undefined
    if (Math.abs(right - this.#expected[bin]!) <= DISAGREEMENT * Math.sqrt(this.#spread[bin]! + 1)) return undefined
    const smoothed = (right + 1) / (asked + 2)
    return Math.max(0, right / asked - Math.sqrt((smoothed * (1 - smoothed)) / asked))
  }

  /** Forgets all outcomes; bins stay. */
  clear(): void {
    if (this.#bins) this.#settle(this.#bins)
  }

  get state(): ResidualState {
    return {
      edges: this.#bins ? [...this.#bins.edges] : null,
      seen: [...this.#seen],
      asked: [...this.#asked],
      right: [...this.#right],
      expected: [...this.#expected],
      spread: [...this.#spread],
    }
  }

  set state({ edges, seen, asked, right, expected, spread }: ResidualState) {
    this.#bins = edges ? new Bins(edges) : undefined
    this.#seen = seen
    this.#asked = asked
    this.#right = right
    this.#expected = expected
    this.#spread = spread
  }

  #settle(bins: Bins): void {
    this.#bins = bins
    const zeros = () => new Array<number>(bins.count).fill(0)
    this.#asked = zeros()
    this.#right = zeros()
    this.#expected = zeros()
    this.#spread = zeros()
  }
}

/** Checks a state for counters of at most so many bins. */
export const residualStateFor = ({ bins, edges, warmUp }: ResidualCounterOptions): z.ZodType<ResidualState> => {
  const most = Math.max(bins, (edges?.length ?? 0) + 1)
  return residualState.refine(state => {
    const count = state.edges ? state.edges.length + 1 : 0
    const counts = [state.asked, state.right, state.expected, state.spread]
    return count <= most && state.seen.length <= warmUp && counts.every(({ length }) => length === count)
  })
}
