import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { TelemetryPoint } from './point.ts'

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
  /** When its last point came, in ms. */
  at: number
  /** Absent where only the file has them. */
  kept?: TelemetryPoint[]
  /** Points that are in memory only, because the disk did not take them. */
  unsaved: number
}

/** Closed batches whose points stay in memory, so that a store that keeps up never makes us read a file. */
const keptBatches = 2

const suffix = '.ndjson'

/**
 * Points on their way into a store, on disk and in order. Every point is in a file when `append` returns, so that whoever
 * sent it may be told that it is safe: what was told is written to the store by this process or by the next one. One file
 * is one batch, a JSON object a line, deleted when the store has all of it. While the store keeps up that is within a
 * second, and the system does not even begin to write it to the disk.
 */
export class Spool {
  /** Points lost: to a full spool, to their age, and to a disk that took nothing. */
  readonly dropped = { full: 0, age: 0, disk: 0 }
  private readonly options: SpoolOptions
  /** Closed batches, oldest first. */
  private batches: Batch[] = []
  private open: (Batch & { kept: TelemetryPoint[]; descriptor: number | undefined }) | undefined
  private taken: Batch | undefined
  private number = 0
  private points = 0
  private totalBytes = 0
  private reportedDiskAt = 0

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

  /** When the last point of the oldest closed batch came, in ms; undefined where none waits. */
  get oldest(): number | undefined {
    return this.batches[0]?.at
  }

  /** Finds what an earlier run has left. Throws `DATABASE_FAILED` where the directory is no use. */
  start(): void {
    const { directory } = this.options
    try {
      mkdirSync(directory, { recursive: true })
      for (const file of readdirSync(directory)
        .filter(name => /^\d+\.ndjson$/.test(name))
        .sort()) {
        const path = join(directory, file)
        const points = countLines(readFileSync(path))
        const { size: bytes, mtimeMs: at } = statSync(path)
        this.batches.push({ file: path, points, bytes, at, unsaved: 0 })
        this.points += points
        this.totalBytes += bytes
        this.number = Number(file.slice(0, -suffix.length))
      }
    } catch (cause) {
      throw new FaultlineError('DATABASE_FAILED', `the spool ${directory}: ${(cause as Error).message}`, { cause })
    }
  }

  /** Leaves everything on disk for the next run. */
  stop(): void {
    this.close()
    for (const batch of this.batches) {
      if (batch.unsaved > 0) this.lose('disk', batch.unsaved)
    }
    this.batches = []
    this.points = 0
    this.totalBytes = 0
  }

  append(point: TelemetryPoint): void {
    this.open ??= this.begin()
    const { open } = this
    const line = Buffer.from(`${JSON.stringify(point)}\n`)
    if (!this.save(open.descriptor, line)) open.unsaved++
    open.kept.push(point)
    open.points++
    open.bytes += line.length
    open.at = Date.now()
    this.points++
    this.totalBytes += line.length
    if (this.totalBytes > this.options.maxBytes) this.dropOverflow()
  }

  /** Ends the batch that is being collected; the next point begins another. */
  close(): void {
    const { open } = this
    if (!open) return
    this.open = undefined
    if (open.descriptor !== undefined) closeSync(open.descriptor)
    this.batches.push(open)
    const kept = this.batches.filter(batch => batch.kept)
    if (kept.length > keptBatches) this.forget(open)
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
        this.reportDisk(error)
        this.drop('disk', batch)
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

  private begin(): NonNullable<typeof this.open> {
    const file = join(this.options.directory, `${String(++this.number).padStart(12, '0')}${suffix}`)
    const batch = { file, points: 0, bytes: 0, at: Date.now(), kept: [], unsaved: 0 }
    try {
      return { ...batch, descriptor: openSync(file, 'a') }
    } catch (error) {
      this.reportDisk(error)
      return { ...batch, descriptor: undefined }
    }
  }

  private save(descriptor: number | undefined, line: Buffer): boolean {
    if (descriptor === undefined) return false
    try {
      return writeSync(descriptor, line) === line.length
    } catch (error) {
      this.reportDisk(error)
      return false
    }
  }

  /** Gives the memory back; the file stays. */
  private forget(batch: Batch): void {
    if (batch.unsaved > 0) this.lose('disk', batch.unsaved)
    batch.points -= batch.unsaved
    this.points -= batch.unsaved
    batch.unsaved = 0
    delete batch.kept
  }

  private dropExpired(): void {
    const before = Date.now() - this.options.maxAgeMs
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
    this.batches.splice(this.batches.indexOf(batch), 1)
    this.points -= batch.points
    this.totalBytes -= batch.bytes
    try {
      rmSync(batch.file, { force: true })
    } catch (error) {
      this.reportDisk(error)
    }
  }

  private lose(reason: keyof Spool['dropped'], points: number): void {
    const why = { full: 'the spool is full', age: 'it waited too long', disk: 'the disk did not take it' }[reason]
    // Once for each outage and reason would hide how much; once for each batch of thousands is little.
    this.options.logger.error({ code: 'STORE_FAILED', points }, `telemetry lost: ${why}`)
    this.dropped[reason] += points
  }

  private reportDisk(error: unknown): void {
    if (Date.now() - this.reportedDiskAt < 60_000) return
    this.reportedDiskAt = Date.now()
    const { message } = error as Error
    this.options.logger.error({ code: 'DATABASE_FAILED', error: message }, 'the spool cannot be written')
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
    try {
      points.push(JSON.parse(line) as TelemetryPoint)
    } catch {
      damaged.push(line)
    }
  }
  return { points, damaged }
}
