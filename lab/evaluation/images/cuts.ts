import { type Device, type Expense, expenseOf, type Work } from './expense.ts'
import type { Link } from './links.ts'

/** One cut of the server's network, measured. */
export interface CutFigures {
  /** The layers it comes after; `input` sends the image. */
  after: string
  /** Of the tensors that cross. */
  shapes: readonly (readonly number[])[]
  /** What crosses, as it is and rounded to 8 bits; null where nothing does. */
  bytes: { float32: number; uint8: number } | null
  /** Milliseconds on one core of the machine that measured. */
  headMs: number
  tailMs: number
  /** Share of images answered the same when 8 bits cross; null where the cut changes nothing. */
  agreement: number | null
}

export type Precision = 'float32' | 'uint8'

/** @param overhead Bytes of a message besides what it carries. */
export function workOf(cut: CutFigures, precision: Precision, overhead: number): Work {
  return {
    deviceMs: cut.headMs,
    bytes: cut.bytes && cut.bytes[precision] + overhead,
    serverMs: cut.tailMs,
  }
}

/** The first and the last cut leave the network whole. */
export function innerCuts(cuts: readonly CutFigures[]): readonly CutFigures[] {
  return cuts.slice(1, -1)
}

/** A cut with what it takes over one link. */
export interface PricedCut extends Expense {
  after: string
}

/** The cut with the shortest way to an answer; undefined without any. */
export function bestCut(
  cuts: readonly CutFigures[],
  precision: Precision,
  overhead: number,
  link: Link,
  device: Device,
): PricedCut | undefined {
  const priced = cuts.map(cut => ({ after: cut.after, ...expenseOf(workOf(cut, precision, overhead), link, device) }))
  return priced.toSorted((a, b) => a.latencyMs - b.latencyMs)[0]
}
