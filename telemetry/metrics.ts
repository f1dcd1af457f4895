import { metrics } from '@faultline/runtime'
import type { Recorder } from './recorder.ts'

/** What a recorder counts, for Prometheus. Every series is there from the start, at zero until something happens. */
export class RecorderMetrics {
  readonly registry = new metrics.Registry()

  constructor(recorder: Recorder) {
    const add = (
      Kind: typeof metrics.Gauge | typeof metrics.Counter,
      name: string,
      help: string,
      read: () => number | Record<string, number>,
      label?: string,
    ) =>
      new Kind({
        name: `faultline_recorder_${name}`,
        help,
        labelNames: label === undefined ? [] : [label],
        registers: [this.registry],
        // Counted where it happens; here it is only read.
        collect() {
          const value = read()
          this.reset()
          if (typeof value === 'number') this.inc(value)
          else for (const [key, count] of Object.entries(value)) this.inc({ [label!]: key }, count)
        },
      })
    const { queue } = recorder
    const { Gauge, Counter } = metrics
    add(Gauge, 'broker_connected', '1 while connected to the broker and subscribed', () => Number(recorder.online))
    add(Gauge, 'store_up', '0 while the store does not take what it is given', () => Number(queue.outage === undefined))
    add(Gauge, 'spool_up', '0 while the disk of the spool takes nothing and messages wait at the broker', () =>
      Number(recorder.holding === undefined),
    )
    add(
      Counter,
      'held_messages_total',
      'Messages not acknowledged because the spool could not be written',
      () => recorder.counts.held,
    )
    add(
      Counter,
      'damaged_files_total',
      'Damaged files that were set aside',
      () => ({
        store: recorder.store.upkeep.setAside,
        spool: queue.spool.damagedFiles,
      }),
      'kind',
    )
    add(
      Counter,
      'failed_upkeep_total',
      'Deletions and roll-ups of the store that failed',
      () => recorder.store.upkeep.failed,
    )
    add(Counter, 'points_total', 'Points written, repetitions included', () => queue.recorded)
    add(Counter, 'dropped_points_total', 'Points lost, by reason', () => ({ ...queue.spool.dropped }), 'reason')
    add(Counter, 'set_aside_points_total', 'Points that the store refuses', () => queue.setAside.count)
    add(Counter, 'refused_messages_total', 'Messages that are not of the contract', () => recorder.counts.refused)
    add(
      Counter,
      'unknown_messages_total',
      'Messages of kinds that this version does not know',
      () => recorder.counts.unknown,
    )
    add(Counter, 'failed_writes_total', 'Attempts to write a batch that failed', () => queue.failed)
    add(Gauge, 'waiting_points', 'Points in the spool', () => queue.length)
    add(Gauge, 'waiting_bytes', 'Bytes of these', () => queue.spool.bytes)
    add(Gauge, 'oldest_batch_seconds', 'Age of the oldest batch that waits', () => (queue.spool.waitedMs ?? 0) / 1_000)
  }
}
