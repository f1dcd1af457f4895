import type { DatabaseSync, StatementSync } from '@faultline/runtime'

/**
 * The time by which messages grow old: it goes on while a broker runs, in step with the monotonic clock, and stands still
 * otherwise. A wall clock that jumps, or was wrong before a restart, ages nothing.
 */
export class StoreClock {
  private readonly write: StatementSync
  /** What this clock showed when the monotonic one was at zero. */
  private readonly offset: number

  constructor(database: DatabaseSync) {
    this.write = database.prepare('UPDATE clock SET ms = ?')
    // A broker that was killed noted its time some while before it queued its last messages.
    const { ms } = database
      .prepare('SELECT max(clock.ms, ifnull((SELECT max(queued_at) FROM queue), 0)) AS ms FROM clock')
      .get() as { ms: number }
    this.offset = ms - performance.now()
  }

  /** In ms; never less than before, over restarts too. */
  now(): number {
    return Math.round(this.offset + performance.now())
  }

  /** Notes the time, for the next broker to go on from. */
  save(): void {
    this.write.run(this.now())
  }
}
