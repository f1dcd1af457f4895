import { metrics } from '@faultline/runtime'
import type { Archiver } from './archiver.ts'

/** What an archive holds and loses, for Prometheus. */
export class ArchiveMetrics {
  readonly registry = new metrics.Registry()

  constructor(archiver: Archiver) {
    const registers = [this.registry]
    const each = (name: string, help: string, read: () => number) =>
      new metrics.Gauge({
        name: `faultline_server_archive_${name}`,
        help,
        registers,
        collect() {
          this.set(read())
        },
      })
    each('windows', 'Windows in the archive', () => archiver.counts.windows)
    each('labelled_windows', 'Windows that a person has labelled', () => archiver.counts.labelled)
    each('bytes', 'What the archive takes on disk', () => archiver.counts.bytes)
    new metrics.Counter({
      name: 'faultline_server_archive_written_total',
      help: 'Windows archived since the start',
      registers,
      collect() {
        this.reset()
        this.inc(archiver.written)
      },
    })
    new metrics.Counter({
      name: 'faultline_server_archive_dropped_total',
      help: 'Windows that were not archived, by reason',
      labelNames: ['reason'],
      registers,
      collect() {
        this.reset()
        for (const [reason, count] of Object.entries(archiver.dropped)) this.inc({ reason }, count)
      },
    })
  }
}
