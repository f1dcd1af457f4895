import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Logger } from '@faultline/runtime'

/** Messages remembered; the file holds at most twice as many lines. */
const maxRemembered = 10_000

/** How long a file that could not be written is left alone, in ms. */
const retryMs = 10_000

/**
 * When messages that carry no time of their own were first seen, so that a second delivery is the same point: verdicts, and
 * the wills of devices. It outlives the process: QoS 1 delivers again above all after a restart.
 */
export class FirstSeen {
  private readonly file: string
  private readonly logger: Logger
  private readonly times = new Map<string, number>()
  private descriptor: number | undefined
  private failedAt = Number.NEGATIVE_INFINITY
  private lines = 0

  constructor(file: string, logger: Logger) {
    this.file = file
    this.logger = logger
  }

  /** A file that cannot be read, or not be written now, costs at most points that are recorded twice. */
  start(): void {
    this.times.clear()
    try {
      const lines = existsSync(this.file) ? readFileSync(this.file, 'utf8').split('\n') : []
      for (const line of lines) {
        const [, time, key] = /^(\d+) (.+)$/.exec(line) ?? []
        if (!key) continue
        if (time === '0') this.times.delete(key)
        else this.remember(key, Number(time))
      }
      this.rewrite()
    } catch (error) {
      this.report(error)
    }
  }

  stop(): void {
    try {
      if (this.descriptor !== undefined) closeSync(this.descriptor)
    } catch (error) {
      this.report(error)
    }
    this.descriptor = undefined
  }

  /** The time of the first delivery, in ms: `now` where this is the first. `key` is text of one line. */
  at(key: string, now: number): number {
    const before = this.times.get(key)
    if (before !== undefined) return before
    this.remember(key, now)
    this.keep(key, now)
    return now
  }

  /** What comes under this key from now on is another event. */
  forget(key: string): void {
    if (this.times.delete(key)) this.keep(key, 0)
  }

  /** The time 0 says that the key is forgotten. Without the file it still knows what this process has seen. */
  private keep(key: string, time: number): void {
    if (this.descriptor === undefined && performance.now() - this.failedAt < retryMs) return
    try {
      if (this.descriptor === undefined || this.lines >= 2 * maxRemembered) {
        this.rewrite()
        return
      }
      const line = Buffer.from(lineOf(key, time))
      for (let at = 0; at < line.length; ) at += writeSync(this.descriptor, line, at)
      this.lines++
    } catch (error) {
      // The whole file is written anew when the disk has room: a line may be torn, and others are missing.
      this.stop()
      this.report(error)
    }
  }

  private remember(key: string, time: number): void {
    this.times.delete(key)
    this.times.set(key, time)
    if (this.times.size > maxRemembered) this.times.delete(this.times.keys().next().value!)
  }

  private rewrite(): void {
    mkdirSync(dirname(this.file), { recursive: true })
    const temporary = `${this.file}.new`
    writeFileSync(temporary, [...this.times].map(([key, time]) => lineOf(key, time)).join(''))
    this.stop()
    renameSync(temporary, this.file)
    this.descriptor = openSync(this.file, 'a')
    this.lines = this.times.size
  }

  private report(error: unknown): void {
    this.failedAt = performance.now()
    this.logger.warn({ file: this.file, error: (error as Error).message }, 'second deliveries may be recorded twice')
  }
}

const lineOf = (key: string, time: number): string => `${time} ${key}\n`
