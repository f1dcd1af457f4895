import {
  closeSync,
  ftruncateSync,
  futimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import { type Logger, SteadyClock } from '@faultline/runtime'
import { measurements, type TelemetryPoint } from './point.ts'

export interface SpoolOptions {
  /** Made when missing; belongs to one recorder. */
  directory: string
  /** Beyond so many bytes the oldest batches are dropped. */
  maxBytes: number
  /** A batch whose last point is older than this is dropped. */
  maxAgeMs: number
  logger: Logger
}

interface Batch {
  file: string
  points: number
  bytes: number
  /** When its last point came, by the spool's clock; the file has it as its time of change. */
  at: number
  /** Absent where only the file has them. */
  kept?: TelemetryPoint[]
}

interface OpenBatch extends Batch {
  kept: TelemetryPoint[]
  descriptor: number
}

/** Closed batches whose points stay in memory, so that a store that keeps up never makes us read a file. */
const keptBatches = 2

const suffix = '.ndjson'

/** Room that a disk has to have again before points are taken again, so that they are not refused at once. */
const probeBytes = 262_144

/** Reasons of the disk itself, which may pass: no room, no quota, no read or write, mounted read-only. */
const diskCodes = ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS']

/**
 * Points on their way into a store, on disk and in order. Every point is in a file when `append` returns, so that its
 * message may be acknowledged: it is written to the store by this process or by the next one. `append` throws where the
 * disk does not take it, and keeps nothing of it. One file is one batch, a JSON object a line, deleted when the store has
 * all of it. While the store keeps up that is within a second, and the system does not even begin to write it to the disk.
 */
export class Spool {
  /** Points lost: to a full spool, to their age, and to files that cannot be read. */
  readonly dropped = { full: 0, age: 0, disk: 0 }
  /** Why the disk takes no points; undefined while it does. */
  failure: string | undefined
  /** Files that could not be read and were set aside. */
  damagedFiles = 0
  private readonly options: SpoolOptions
  /** Closed batches, oldest first. */
  private batches: Batch[] = []
  private open: OpenBatch | undefined
  private taken: Batch | undefined
  private number = 0
  private clock = new SteadyClock()
  private points = 0
  private totalBytes = 0
  private reportedDiskAt = Number.NEGATIVE_INFINITY

  constructor(options: SpoolOptions) {
    this.options = options
  }

  /** Points not yet in the store. */
  get length(): number {
    return this.points
  }

  get bytes(): number {
    return this.totalBytes
  }

  /** Points of the batch that is being collected. */
  get collected(): number {
    return this.open?.points ?? 0
  }

  /** For how long the last point of the oldest closed batch has waited, in ms; undefined where none waits. */
  get waitedMs(): number | undefined {
    const [oldest] = this.batches
    return oldest && Math.max(0, this.clock.now() - oldest.at)
  }

  /**
   * Finds what an earlier run has left. A disk that is full or broken shows in `failure`; throws `DATABASE_FAILED` where the
   * directory cannot be used for another reason.
   */
  start(): void {
    const { directory } = this.options
    try {
      this.makeDirectory()
      const names = readdirSync(directory).filter(name => /^\d+\.ndjson$/.test(name))
      for (const name of names.sort()) {
        this.number = Number(name.slice(0, -suffix.length))
        this.find(join(directory, name))
      }
      if (this.batches.length > 0) this.clock = new SteadyClock(Math.max(...this.batches.map(({ at }) => at)))
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException
      if (!diskCodes.includes(code ?? '')) {
        const advice = `make it writable, or set spool.directory to another ("ls -ld ${directory}")`
        throw new FaultlineError('DATABASE_FAILED', `the spool ${directory}: ${message}; ${advice}`, { cause })
      }
      this.failure = message
    }
  }

  /** Leaves everything on disk for the next run. */
  stop(): void {
    this.close()
    this.batches = []
    this.points = 0
    this.totalBytes = 0
  }

  /** All of these or, where the disk does not take them, none: then it throws `DATABASE_FAILED`. */
  append(...points: TelemetryPoint[]): void {
    const text = Buffer.from(points.map(point => `${JSON.stringify(point)}\n`).join(''))
    const at = this.clock.now()
    try {
      this.open ??= this.begin(at)
      this.save(this.open, text, at)
    } catch (cause) {
      this.failure = (cause as Error).message
      throw new FaultlineError('DATABASE_FAILED', `the spool cannot be written: ${this.failure}`, { cause })
    }
    this.failure = undefined
    const { open } = this
    open.kept.push(...points)
    open.points += points.length
    open.bytes += text.length
    open.at = at
    this.points += points.length
    this.totalBytes += text.length
    if (this.totalBytes > this.options.maxBytes) this.dropOverflow()
  }

  /** Whether the disk has room again after it took no points. */
  hasRoom(): boolean {
    const file = join(this.options.directory, 'probe')
    try {
      this.makeDirectory()
      writeFileSync(file, Buffer.alloc(probeBytes))
      this.failure = undefined
    } catch (error) {
      this.failure = (error as Error).message
    }
    try {
      rmSync(file, { force: true })
    } catch {} // It is overwritten the next time.
    return this.failure === undefined
  }

  /** Ends the batch that is being collected; the next point begins another. */
  close(): void {
    const { open } = this
    if (!open) return
    this.open = undefined
    this.closeFile(open.descriptor)
    // Its first points were not taken.
    if (open.points === 0) {
      this.removeFile(open.file)
      return
    }
    this.batches.push(open)
    if (this.batches.filter(batch => batch.kept).length > keptBatches) delete (open as Batch).kept
  }

  /** The points of the oldest closed batch; lines that cannot be read come as text. Undefined where none waits. */
  take(): { points: TelemetryPoint[]; damaged: string[] } | undefined {
    for (let batch = this.batches[0]; batch; batch = this.batches[0]) {
      try {
        const content = batch.kept ? { points: batch.kept, damaged: [] } : readBatch(batch.file)
        this.taken = batch
        return content
      } catch (error) {
        // One file that cannot be read must not hold up all those behind it.
        this.forget(batch)
        this.lose('disk', batch.points)
        this.moveAside(batch.file, error)
      }
    }
    return undefined
  }

  /** The store has what was taken. */
  done(): void {
    if (this.taken) this.remove(this.taken)
    this.taken = undefined
  }

  /** The store has it not: it waits again, first in line. */
  putBack(): void {
    this.taken = undefined
    this.dropExpired()
    this.dropOverflow()
  }

  private makeDirectory(): void {
    mkdirSync(this.options.directory, { recursive: true })
  }

  private find(file: string): void {
    try {
      const points = countLines(readFileSync(file))
      const { size: bytes, mtimeMs: at } = statSync(file)
      if (bytes === 0) {
        this.options.logger.warn(
          { file },
          'an empty file of the spool is removed: it was not written yet, or lost with the power',
        )
        this.removeFile(file)
        return
      }
      this.batches.push({ file, points, bytes, at })
      this.points += points
      this.totalBytes += bytes
    } catch (error) {
      this.moveAside(file, error)
    }
  }

  private begin(at: number): OpenBatch {
    this.makeDirectory()
    const file = join(this.options.directory, `${String(this.number + 1).padStart(12, '0')}${suffix}`)
    const descriptor = openSync(file, 'a')
    this.number++
    return { file, points: 0, bytes: 0, at, kept: [], descriptor }
  }

  /** Writes all of the text, or takes back what was written of it. */
  private save({ descriptor, bytes }: OpenBatch, text: Buffer, time: number): void {
    try {
      for (let at = 0; at < text.length; ) at += writeSync(descriptor, text, at)
      futimesSync(descriptor, time / 1_000, time / 1_000)
    } catch (error) {
      try {
        ftruncateSync(descriptor, bytes)
      } catch {
        // The torn line is set aside when it is read; the next point must not be written behind it.
        this.close()
      }
      throw error
    }
  }

  private closeFile(descriptor: number): void {
    try {
      closeSync(descriptor)
    } catch (error) {
      this.reportDisk(error)
    }
  }

  /** Renames a file that cannot be read; what is left of it is for a person to look at. */
  private moveAside(file: string, thrown: unknown): void {
    const aside = `${file}.damaged-${new Date().toISOString().replaceAll(':', '-')}`
    const fields = { code: 'DATABASE_FAILED', file: aside, error: (thrown as Error).message }
    this.options.logger.error(fields, 'a file of the spool cannot be read and was set aside')
    this.damagedFiles++
    try {
      renameSync(file, aside)
    } catch (error) {
      this.reportDisk(error)
    }
  }

  private dropExpired(): void {
    const before = this.clock.now() - this.options.maxAgeMs
    for (const batch of this.batches.filter(({ at }) => at < before)) this.drop('age', batch)
  }

  private dropOverflow(): void {
    while (this.totalBytes > this.options.maxBytes) {
      const oldest = this.batches.find(batch => batch !== this.taken)
      if (!oldest) return
      this.drop('full', oldest)
    }
  }

  private drop(reason: keyof Spool['dropped'], batch: Batch): void {
    this.remove(batch)
    this.lose(reason, batch.points)
  }

  private remove(batch: Batch): void {
    this.forget(batch)
    this.removeFile(batch.file)
  }

  private forget(batch: Batch): void {
    this.batches.splice(this.batches.indexOf(batch), 1)
    this.points -= batch.points
    this.totalBytes -= batch.bytes
  }

  private removeFile(file: string): void {
    try {
      rmSync(file, { force: true })
    } catch (error) {
      this.reportDisk(error)
    }
  }

  private lose(reason: keyof Spool['dropped'], points: number): void {
    const why = { full: 'the spool is full', age: 'it waited too long', disk: 'its file cannot be read' }[reason]
    // Once for each outage and reason would hide how much; once for each batch of thousands is little.
    this.options.logger.error({ code: 'STORE_FAILED', points }, `telemetry lost: ${why}`)
    this.dropped[reason] += points
  }

  private reportDisk(error: unknown): void {
    if (performance.now() - this.reportedDiskAt < 60_000) return
    this.reportedDiskAt = performance.now()
    const { message } = error as Error
    this.options.logger.error(
      { code: 'DATABASE_FAILED', error: message },
      'a file of the spool cannot be closed or removed',
    )
  }
}

function countLines(text: Buffer): number {
  let lines = 0
  for (let at = text.indexOf(10); at !== -1; at = text.indexOf(10, at + 1)) lines++
  return lines
}

function readBatch(file: string): { points: TelemetryPoint[]; damaged: string[] } {
  const points: TelemetryPoint[] = []
  const damaged: string[] = []
  // A power cut may leave the end of a file torn, or as zeros.
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    if (line === '') continue
    const point = parsed(line)
    if (isPoint(point)) points.push(point)
    else damaged.push(line)
  }
  return { points, damaged }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

/** One damaged line must not keep a store from taking all the others. */
function isPoint(value: unknown): value is TelemetryPoint {
  const { measurement, tags, fields, time, offset } = (value ?? {}) as Record<string, unknown>
  const areRecords = [tags, fields].every(part => typeof part === 'object' && part !== null)
  return measurements.some(name => name === measurement) && areRecords && [time, offset].every(Number.isSafeInteger)
}
