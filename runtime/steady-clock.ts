/** Where the time comes from, in ms: since 1970 by the wall clock, and since any moment by a clock that is never set. */
export interface TimeSource {
  wall(): number
  monotonic(): number
}

export const systemTime: TimeSource = { wall: () => Date.now(), monotonic: () => performance.now() }

/** A wall clock that shows an earlier time has not been set yet: a computer without a battery wakes in 1970. */
const firstPlausible = Date.UTC(2026, 0, 1)

/**
 * The time by which data grows old, in ms since 1970. It goes on with the monotonic clock and never goes back. Where the wall
 * clock is ahead it follows at twice the speed: a wall clock that is two days ahead for an hour ages nothing by more than
 * that hour, and the time of a machine that was switched off is made up for while it runs. A store keeps this time beside
 * its data, for the next process to go on from.
 */
export class SteadyClock {
  private readonly source: TimeSource
  private time: number | undefined
  private readAt: number

  /** @param saved What an earlier process read from its own last; 0 where there was none. */
  constructor(saved = 0, source: TimeSource = systemTime) {
    this.source = source
    this.readAt = source.monotonic()
    if (saved >= firstPlausible) this.time = saved
  }

  now(): number {
    const wall = this.source.wall()
    const monotonic = this.source.monotonic()
    const passed = monotonic - this.readAt
    this.readAt = monotonic
    if (this.time !== undefined) this.time = Math.min(Math.max(wall, this.time + passed), this.time + 2 * passed)
    else if (wall >= firstPlausible) this.time = wall
    return Math.round(this.time ?? wall)
  }
}
