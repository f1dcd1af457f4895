import { SHIPPED_PRICE } from '../pair.ts'
import { bestCut, innerCuts, type PricedCut } from './cuts.ts'
import type { ImageEvaluation } from './evaluation.ts'
import { type Expense, expenseOf, together } from './expense.ts'
import type { Link } from './links.ts'
import type { MethodFigures } from './methods.ts'

/** Ways to an answer that are priced over a link. */
export interface Ways {
  never: Expense
  always: Expense
  /** Hierarchical inference under the default policy at the shipped price: the mean, and an image that is sent. */
  both: Expense
  sent: Expense
  /** Undefined where the network cannot be cut. */
  cut: PricedCut | undefined
  cutIn8Bits: PricedCut | undefined
  /** The server's network on the device. */
  whole: Expense
}

type Measured = Pick<ImageEvaluation, 'device' | 'escalationBytes' | 'imageBytes' | 'times' | 'cuts' | 'rows'>

/** What each way takes over one link. */
export function waysOver(link: Link, evaluation: Measured): Ways {
  const { device, escalationBytes, times, cuts } = evaluation
  const [never, always] = [neverOver(link, evaluation), alwaysOver(link, evaluation)]
  const inner = innerCuts(cuts)
  const overhead = overheadOf(evaluation)
  return {
    never,
    always,
    both: expenseOfMethod(rowOf(evaluation, 'default', SHIPPED_PRICE), link, evaluation),
    sent: expenseOf({ deviceMs: times.localMs, bytes: escalationBytes, serverMs: times.serverMs }, link, device),
    cut: bestCut(inner, 'float32', overhead, link, device),
    cutIn8Bits: bestCut(inner, 'uint8', overhead, link, device),
    whole: expenseOf({ deviceMs: times.serverMs, bytes: null, serverMs: 0 }, link, device),
  }
}

/** What an image takes on average under a method; partitioning by its best cut. */
export function expenseOfMethod({ method, sent }: MethodFigures, link: Link, evaluation: Measured): Expense {
  const always = alwaysOver(link, evaluation)
  if (method === 'always') return always
  if (method !== 'partitioning') return together(neverOver(link, evaluation), always, sent.value)
  const { cuts, device } = evaluation
  return bestCut(innerCuts(cuts), 'float32', overheadOf(evaluation), link, device) ?? always
}

export function rowOf({ rows }: Pick<ImageEvaluation, 'rows'>, method: MethodFigures['method'], price: number) {
  return rows.find(row => row.method === method && row.price === price)!
}

/** Bytes of a message besides the image, or the activation, within it. */
export function overheadOf({ escalationBytes, imageBytes }: Pick<ImageEvaluation, 'escalationBytes' | 'imageBytes'>) {
  return escalationBytes - imageBytes
}

function neverOver(link: Link, { times, device }: Measured): Expense {
  return expenseOf({ deviceMs: times.localMs, bytes: null, serverMs: 0 }, link, device)
}

/** The image goes up unseen: whoever sends all needs no local model. */
function alwaysOver(link: Link, { times, device, escalationBytes }: Measured): Expense {
  return expenseOf({ deviceMs: 0, bytes: escalationBytes, serverMs: times.serverMs }, link, device)
}
