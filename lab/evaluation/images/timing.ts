/** Enough for a median that one slow round does not move. */
export const ROUNDS = 30
const WARM_UP = 3

/**
 * Median milliseconds of each run. They take turns, so that whatever else the machine does meets all alike: compare them
 * with each other before you compare them with another day's.
 */
export async function medianMs(
  runs: readonly (() => Promise<unknown>)[],
  onRound: (done: number, of: number) => void = () => {},
  rounds: number = ROUNDS,
): Promise<number[]> {
  for (const run of runs) for (let i = 0; i < WARM_UP; i++) await run()
  const times = runs.map((): number[] => [])
  for (let round = 0; round < rounds; round++) {
    for (const [i, run] of runs.entries()) {
      const started = performance.now()
      await run()
      times[i]!.push(performance.now() - started)
    }
    onRound(round + 1, rounds)
  }
  return times.map(medianOf)
}

function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
