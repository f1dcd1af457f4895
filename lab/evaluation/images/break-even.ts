import type { Outcome } from '../../training/calibration.ts'

/** Prices between which one rule is cheaper than never and than always escalating. */
export interface PriceRange {
  from: number
  to: number
}

/**
 * The range for a fixed threshold, from counting: with wrong answers of the server counted too, it beats never escalating
 * below (local wrong - server wrong among the escalated) / escalated, and always escalating above (local wrong - server
 * wrong among the accepted) / accepted. Null where there is no such price, or nothing is accepted or escalated. After the
 * bookkeeping of arXiv 2304.11763.
 */
export function breakEven(outcomes: readonly Outcome[], threshold: number): PriceRange | null {
  let [escalated, gained, lost] = [0, 0, 0]
  for (const { confidence, localRight, serverRight } of outcomes) {
    const difference = Number(serverRight) - Number(localRight)
    if (confidence < threshold) {
      escalated++
      gained += difference
    } else lost += difference
  }
  const accepted = outcomes.length - escalated
  if (escalated === 0 || accepted === 0) return null
  const range = { from: Math.max(0, lost / accepted), to: gained / escalated }
  return range.from < range.to ? range : null
}

/** The range for a rule whose costs are known at rising prices; its first and last price that is cheaper. */
export function cheaperBetween(
  prices: readonly number[],
  costs: readonly number[],
  never: number,
  serverWrong: number,
): PriceRange | null {
  const paying = prices.filter((price, i) => costs[i]! < Math.min(never, serverWrong + price))
  return paying.length > 0 ? { from: paying[0]!, to: paying.at(-1)! } : null
}
