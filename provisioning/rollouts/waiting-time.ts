import { isUnderWay } from './states.ts'
import type { RolloutDevice, RolloutStore } from './store.ts'

/** How often it is written; a process that is killed loses so much of it. */
const saveMs = 10_000

/**
 * The time that the devices of a rollout take: on a clock that nobody sets, and only while it would be heard that one of them
 * gets further. Neither a wall clock that jumps nor a service that was away makes a device lost.
 */
export class WaitingTime {
  private readonly store: RolloutStore
  private readonly id: string
  private readonly clock: () => number
  private lookedAt: number
  private unsavedMs = 0

  constructor(store: RolloutStore, id: string, clock: () => number = performance.now.bind(performance)) {
    this.store = store
    this.id = id
    this.clock = clock
    this.lookedAt = clock()
  }

  /** Adds what has passed since the last call. Throws `DATABASE_FAILED`. */
  pass(devices: Iterable<RolloutDevice>, counts: boolean): void {
    const now = this.clock()
    const passed = now - this.lookedAt
    this.lookedAt = now
    if (!counts) return
    for (const device of devices) if (isUnderWay(device.state)) device.waitedMs += passed
    this.unsavedMs += passed
    if (this.unsavedMs >= saveMs) this.save()
  }

  /** Before a device begins, so that what the others have taken is not counted for it. Throws `DATABASE_FAILED`. */
  save(): void {
    if (this.unsavedMs === 0) return
    this.store.wait(this.id, this.unsavedMs)
    this.unsavedMs = 0
  }
}
