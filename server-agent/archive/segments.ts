import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { contentAt } from './frames.ts'

/** Where a frame lies. */
export interface Position {
  segment: number
  offset: number
  length: number
}

const nameOf = (segment: number): string => `${String(segment).padStart(8, '0')}.seg`

/** Numbered files of frames, which are only ever appended to, and go as a whole. */
export class Segments {
  private readonly directory: string
  private current: { segment: number; file: number; bytes: number } | undefined

  constructor(directory: string) {
    this.directory = join(directory, 'segments')
    mkdirSync(this.directory, { recursive: true })
  }

  /** The numbers of those that are there, in their order. */
  list(): number[] {
    const names = readdirSync(this.directory).filter(name => /^\d{8}\.seg$/.test(name))
    return names.map(name => Number.parseInt(name, 10)).sort((a, b) => a - b)
  }

  sizeOf(segment: number): number {
    return statSync(this.pathOf(segment), { throwIfNoEntry: false })?.size ?? 0
  }

  /** Everything in a segment from an offset. */
  tailOf(segment: number, offset: number): Buffer {
    return readFileSync(this.pathOf(segment)).subarray(offset)
  }

  truncate(segment: number, bytes: number): void {
    const file = openSync(this.pathOf(segment), 'r+')
    try {
      ftruncateSync(file, bytes)
    } finally {
      closeSync(file)
    }
  }

  /**
   * Appends frames to a segment and gives the offset of the first. What a full disk took of them is taken back. Throws what
   * the file system throws.
   */
  append(segment: number, frames: Buffer): number {
    const current = this.use(segment)
    const { file, bytes: start } = current
    try {
      for (let written = 0; written < frames.byteLength; )
        written += writeSync(file, frames, written, frames.byteLength - written, start + written)
      current.bytes += frames.byteLength
      return start
    } catch (error) {
      try {
        this.takeBack(start)
      } catch {
        // What is left is no whole frame; the next start cuts it off.
      }
      this.close()
      throw error
    }
  }

  /** Takes back what was appended from an offset of the segment that is appended to. */
  takeBack(offset: number): void {
    if (!this.current) return
    ftruncateSync(this.current.file, offset)
    this.current.bytes = offset
  }

  /** The content of the frame at a position; undefined where it is not what was written. */
  read({ segment, offset, length }: Position): Buffer | undefined {
    const bytes = Buffer.alloc(length)
    let file: number | undefined
    try {
      file = openSync(this.pathOf(segment), 'r')
      readSync(file, bytes, 0, length, offset)
    } catch {
      return undefined
    } finally {
      if (file !== undefined) closeSync(file)
    }
    return contentAt(bytes, 0)
  }

  remove(segment: number): void {
    if (this.current?.segment === segment) this.close()
    rmSync(this.pathOf(segment), { force: true })
  }

  close(): void {
    if (this.current) closeSync(this.current.file)
    this.current = undefined
  }

  private use(segment: number): { file: number; bytes: number } {
    if (this.current?.segment !== segment) {
      this.close()
      // Not to be appended to by the operating system: an offset is written with each frame.
      const file = openSync(this.pathOf(segment), this.sizeOf(segment) > 0 ? 'r+' : 'w+')
      this.current = { segment, file, bytes: this.sizeOf(segment) }
    }
    return this.current!
  }

  private pathOf(segment: number): string {
    return join(this.directory, nameOf(segment))
  }
}
