import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { inTransaction, SteadyClock, systemTime, type TimeSource } from '@faultline/runtime'
import { Catalogue, type IndexedWindow, type Kept, type OtherAnswer } from './catalogue.ts'
import { type ArchiveConfig, type Keeping, keepingOf } from './config.ts'
import { frameOf, framesIn } from './frames.ts'
import { decodeHardWindow, encodeHardWindow, type HardWindow } from './hard-window.ts'
import { Segments } from './segments.ts'

export const indexFile = 'index.db'

export interface ArchiveOptions extends ArchiveConfig {
  /** The system's if omitted. */
  time?: TimeSource
}

export interface ArchiveCounts {
  windows: number
  labelled: number
  bytes: number
}

const dayMs = 86_400_000
/** An archive has so many segments at least when it is full: a share of it goes at once. */
const segmentsWanted = 32
const clockEveryMs = 60_000
/** A segment is read as a whole where its index is lost. */
const largestSegment = 67_108_864

/**
 * Hard windows on disk: frames in segments, and an index of them. Written by one process, and by it alone; others read, and give
 * labels. Each window is in its segment before it is in the index, so what a crash left unindexed is found at the next start,
 * and what it left half written is cut off.
 *
 * It is bounded by bytes and age: the oldest segment goes first, as a whole. Windows that a person has labelled are carried over
 * until they alone take half of it.
 */
export class Archive {
  private readonly options: ArchiveOptions
  private readonly clock: SteadyClock
  private readonly segmentBytes: number
  private readonly lock: DatabaseSync
  private readonly segments: Segments
  private readonly catalogue: Catalogue
  private clockSaved = 0
  /** The segment that is appended to. */
  private segment = 1

  private constructor(options: ArchiveOptions, lock: DatabaseSync, segments: Segments, catalogue: Catalogue) {
    this.options = options
    this.clock = new SteadyClock(catalogue.readClock(), options.time ?? systemTime)
    this.segmentBytes = Math.min(largestSegment, Math.floor(options.maxBytes / segmentsWanted))
    this.lock = lock
    this.segments = segments
    this.catalogue = catalogue
  }

  /**
   * Opens the archive in a directory, or makes it: puts right what a crash left, and takes away what may no longer be kept. Throws
   * `ARCHIVE_FAILED` where another process writes to it or the directory cannot be used, and `DATABASE_FAILED`.
   */
  static open(options: ArchiveOptions): Archive {
    const { directory } = options
    let lock: DatabaseSync | undefined
    let catalogue: Catalogue | undefined
    try {
      const segments = new Segments(directory)
      lock = lockOf(directory)
      catalogue = new Catalogue(join(directory, indexFile))
      const archive = new Archive(options, lock, segments, catalogue)
      archive.recover()
      archive.segment = segments.list().at(-1) ?? 1
      archive.forget()
      archive.sweep()
      return archive
    } catch (thrown) {
      catalogue?.close()
      lock?.close()
      throw toFaultlineError(thrown, 'ARCHIVE_FAILED', directory)
    }
  }

  counts(): ArchiveCounts {
    const { windows, labelled } = this.catalogue.counts()
    return { windows, labelled, bytes: this.bytes() }
  }

  /**
   * Adds windows, those of them that may be kept, and gives how many were new. All of them or, where it throws, none: `DATABASE_FAILED`,
   * and what the file system throws.
   */
  add(windows: readonly HardWindow[]): number {
    const kept = windows.flatMap(window => {
      const keeping = keepingOf(this.options, window.site)
      return keeping === 'off' ? [] : [keeping === 'windows' ? window : withoutSamples(window)]
    })
    const at = this.clock.now()
    return this.append(
      kept.map(window => ({ window, at, frame: frameOf(encodeHardWindow(window)) })),
      ({ window }, position) => this.catalogue.add(window, position),
    )
  }

  /** Adds what other models said of windows that are there. Throws `DATABASE_FAILED`. */
  addAnswers(answers: readonly OtherAnswer[]): void {
    if (answers.length === 0) return
    this.transaction(() => {
      for (const answer of answers) this.catalogue.addAnswer(answer)
    })
  }

  /** Lets the oldest segments go, as far as the bounds ask. Throws `DATABASE_FAILED`, and what the file system throws. */
  sweep(): void {
    const { maxBytes, maxAgeDays } = this.options
    const maxAgeMs = maxAgeDays * dayMs
    const now = this.clock.now()
    this.saveClock(now)
    const all = this.catalogue.segments()
    // What goes as a whole must not reach over too much time.
    const current = all.find(({ id }) => id === this.segment)
    if (current && now - current.oldest > maxAgeMs / segmentsWanted) this.segment++
    let failure: unknown
    for (const { id, newest } of all) {
      if (newest >= now - maxAgeMs && this.bytes() <= maxBytes) return
      try {
        this.evict(id, ({ labelled }) => (labelled ? 'windows' : 'off'))
      } catch (thrown) {
        // On a full disk there is no room to carry labelled windows over; the next segment may have none.
        failure = thrown
      }
    }
    if (failure) throw failure
  }

  close(): void {
    this.saveClock(this.clock.now(), 0)
    this.segments.close()
    this.catalogue.close()
    this.lock.close()
  }

  private saveClock(now: number, everyMs = clockEveryMs): void {
    if (now - this.clockSaved < everyMs) return
    try {
      this.catalogue.saveClock(now)
      this.clockSaved = now
    } catch {} // A full disk must not keep old segments. The clock goes on from an earlier time then, which deletes none too early.
  }

  private bytes(): number {
    return this.catalogue.segmentBytes() + this.catalogue.bytes
  }

  /** Appends frames and notes each in the index; both or neither. Gives how many were noted. */
  private append<T extends { frame: Buffer; at: number }>(
    items: readonly T[],
    note: (item: T, position: { segment: number; offset: number; length: number }) => boolean,
  ): number {
    if (items.length === 0) return 0
    if (this.segments.sizeOf(this.segment) >= this.segmentBytes) this.segment++
    const { segment } = this
    const start = this.segments.append(segment, Buffer.concat(items.map(({ frame }) => frame)))
    try {
      return this.transaction(() => {
        let offset = start
        let noted = 0
        for (const item of items) {
          const { length } = item.frame
          this.catalogue.setSegment(segment, offset + length, item.at)
          if (note(item, { segment, offset, length })) noted++
          offset += length
        }
        return noted
      })
    } catch (error) {
      this.segments.takeBack(start)
      throw error
    }
  }

  /** Takes a segment away, and carries over what may stay: whole, or without its samples. */
  private evict(segment: number, stays: (window: IndexedWindow) => Keeping): void {
    if (segment === this.segment) this.segment++
    let { labelledBytes } = this.catalogue.counts()
    const items = this.catalogue.windowsIn(segment).flatMap(row => {
      const keeping = stays(row)
      const crowded = row.labelled && labelledBytes > this.options.maxBytes / 2
      if (crowded) labelledBytes -= row.length
      const content = keeping === 'off' || crowded ? undefined : this.segments.read(row)
      if (!content) return []
      const kept: Kept = keeping === 'features' ? 'features' : row.kept
      const bytes = kept === row.kept ? content : encodeHardWindow(withoutSamples(decodeHardWindow(content)))
      return [{ row, kept, at: row.received, frame: frameOf(bytes) }]
    })
    this.append(items, ({ row, kept }, position) => {
      this.catalogue.move(row.seq, position, kept)
      return true
    })
    this.transaction(() => this.catalogue.removeSegment(segment))
    this.segments.remove(segment)
  }

  /** Takes away what was kept of sites of which less may be kept by now. */
  private forget(): void {
    const less = this.catalogue.sites().filter(({ site, kept }) => {
      const keeping = keepingOf(this.options, site)
      return keeping === 'off' || (keeping === 'features' && kept === 'windows')
    })
    if (less.length === 0) return
    // Apart from what is new, so that it still goes when it is old.
    this.segment++
    for (const segment of new Set(less.map(({ segment }) => segment)))
      this.evict(segment, ({ site }) => keepingOf(this.options, site))
    this.segment++
  }

  /** Has index and segments agree again after a crash, a power cut, or the loss of either. */
  private recover(): void {
    const present = new Set(this.segments.list())
    const known = new Map(this.catalogue.segments().map(row => [row.id, row]))
    for (const id of known.keys()) if (!present.has(id)) this.transaction(() => this.catalogue.removeSegment(id))
    for (const id of present) {
      const bytes = known.get(id)?.bytes ?? 0
      const size = this.segments.sizeOf(id)
      if (size !== bytes)
        this.index(id, size < bytes ? this.transaction(() => this.catalogue.shorten(id, size)) : bytes)
    }
  }

  /** Indexes the frames of a segment from an offset, and cuts off what is no frame. */
  private index(segment: number, from: number): void {
    let end = from
    this.transaction(() => {
      for (const { offset, length, content } of framesIn(this.segments.tailOf(segment, from))) {
        const window = decodeHardWindow(content)
        end = from + offset + length
        this.catalogue.setSegment(segment, end, Date.parse(window.receivedAt))
        this.catalogue.add(window, { segment, offset: from + offset, length })
      }
      if (end > 0) this.catalogue.resize(segment, end)
      else this.catalogue.removeSegment(segment)
    })
    if (end > 0) this.segments.truncate(segment, end)
    else this.segments.remove(segment)
  }

  private transaction<T>(work: () => T): T {
    try {
      return inTransaction(this.catalogue.database, work)
    } catch (thrown) {
      throw toFaultlineError(thrown, 'DATABASE_FAILED', this.options.directory)
    }
  }
}

const withoutSamples = ({ window: _, ...rest }: HardWindow): HardWindow => rest

/** Held as long as it is open, and no longer than the process lives. */
function lockOf(directory: string): DatabaseSync {
  const lock = new DatabaseSync(join(directory, 'writer.lock'))
  try {
    lock.exec('BEGIN EXCLUSIVE')
    return lock
  } catch (cause) {
    lock.close()
    throw new FaultlineError('ARCHIVE_FAILED', `another process writes to ${directory}`, { cause })
  }
}
