export interface Duration {
  /** Shortest time measured over. */
  measureMs: number
  /** Runs before measuring, so that code is compiled and memory in place. */
  warmUpMs: number
}

/** Median time of one call in milliseconds, over as many calls as fit, at least ten. */
export async function medianMs(call: () => unknown, { measureMs, warmUpMs }: Duration): Promise<number> {
  for (const end = performance.now() + warmUpMs; performance.now() < end; ) await call()
  const times: number[] = []
  for (const end = performance.now() + measureMs; times.length < 10 || performance.now() < end; ) {
    const start = performance.now()
    await call()
    times.push(performance.now() - start)
  }
  times.sort((a, b) => a - b)
  return times[times.length >> 1]!
}
