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

/**
 * The same for work that never waits, in milliseconds of this process on a processor: what other programs take of the
 * machine meanwhile does not count. The clock is coarse, so `call` is repeated until it can be read.
 */
export function medianProcessorMs(call: () => void, { measureMs, warmUpMs }: Duration): number {
  const spent = (since: NodeJS.CpuUsage) => {
    const { user, system } = process.cpuUsage(since)
    return (user + system) / 1_000
  }
  for (const start = process.cpuUsage(); spent(start) < warmUpMs; ) call()
  const samples = 9
  const times = Array.from({ length: samples }, () => {
    const start = process.cpuUsage()
    for (let calls = 1; ; calls++) {
      call()
      const ms = spent(start)
      if (ms >= measureMs / samples) return ms / calls
    }
  })
  times.sort((a, b) => a - b)
  return times[samples >> 1]!
}
