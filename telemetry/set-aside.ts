import { appendFileSync, existsSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { RefusedPoint } from './store.ts'

/** A file that grows beyond this becomes the old one, and the old one goes. */
const maxBytes = 5_000_000

/** Points that the store refuses for good, with the reason, in a file for a person to look at: one JSON object a line. */
export class SetAside {
  /** Points set aside since the start. */
  count = 0
  readonly file: string
  private readonly logger: Logger
  private bytes: number | undefined

  constructor(directory: string, logger: Logger) {
    this.file = join(directory, 'set-aside.jsonl')
    this.logger = logger
  }

  /** Throws `DATABASE_FAILED` where the disk does not take them; the same points may be added again then. */
  add(refused: readonly RefusedPoint[]): void {
    if (refused.length === 0) return
    const [{ reason, point }] = refused as [RefusedPoint]
    const measurement = typeof point === 'string' ? undefined : point.measurement
    const at = new Date().toISOString()
    const text = refused.map(entry => `${JSON.stringify({ at, ...entry })}\n`).join('')
    try {
      this.bytes ??= existsSync(this.file) ? statSync(this.file).size : 0
      if (this.bytes > maxBytes) {
        renameSync(this.file, `${this.file}.old`)
        this.bytes = 0
      }
      appendFileSync(this.file, text)
    } catch (cause) {
      this.bytes = undefined // Part of it may have been written.
      throw new FaultlineError('DATABASE_FAILED', `${this.file}: ${(cause as Error).message}`, { cause })
    }
    this.bytes += Buffer.byteLength(text)
    this.count += refused.length
    this.logger.warn({ points: refused.length, measurement, reason, file: this.file }, 'points are set aside')
  }
}
