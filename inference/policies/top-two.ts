/** The two largest of some probabilities. Equal ones count as two: the second of (0.5, 0.5) is 0.5. */
export function topTwo(probabilities: readonly number[]): [first: number, second: number] {
  let first = 0
  let second = 0
  for (const p of probabilities) {
    if (p > first) {
      second = first
      first = p
    } else if (p > second) second = p
  }
  return [first, second]
}
