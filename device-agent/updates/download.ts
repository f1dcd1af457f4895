import { createHash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { UpdateChunk, UpdateOffer, UpdateRequest } from '@faultline/protocol'
import type { Disk } from './disk.ts'

/** What is asked for at once: enough to fill a slow link, little enough to lose with it. */
const windowBytes = 262_144
/** Waited for what was asked for: first, and at most. */
const patienceMs = { first: 30_000, most: 600_000 }

export interface DownloadOptions {
  /** Where parts of archives lie. */
  directory: string
  offer: UpdateOffer
  disk: Disk
  request: (request: UpdateRequest) => void
}

/** An archive on its way: asked for window by window, from where it was left. What it holds is not believed before it is whole. */
export class Download {
  readonly path: string
  private readonly options: DownloadOptions
  private timer: NodeJS.Timeout | undefined
  private patience = patienceMs.first
  private got: number
  private askedUpTo = 0
  private askedAt = Number.NEGATIVE_INFINITY

  constructor(options: DownloadOptions) {
    this.options = options
    this.path = join(options.directory, `${options.offer.archive.sha256.slice('sha256:'.length)}.part`)
    this.got = sizeOf(this.path)
  }

  get received(): number {
    return this.got
  }

  get complete(): boolean {
    return this.got >= this.options.offer.archive.bytes
  }

  /** Asks, and asks again later where nothing comes. */
  start(): void {
    this.patience = patienceMs.first
    this.ask()
  }

  /** Whoever serves may have begun just now. What a new connection has asked for already is not asked for twice. */
  remind(): void {
    this.patience = patienceMs.first
    if (performance.now() - this.askedAt > 1_000) this.ask()
  }

  stop(): void {
    clearTimeout(this.timer)
  }

  /** Takes a piece; one that does not go on where the others end, such as one that came twice, is passed over. */
  async take({ offset, bytes }: UpdateChunk): Promise<void> {
    const { disk, offer } = this.options
    if (offset !== this.got || bytes.byteLength === 0 || offset + bytes.byteLength > offer.archive.bytes) return
    await disk.append(this.path, bytes)
    this.got += bytes.byteLength
    this.patience = patienceMs.first
    if (this.complete) this.stop()
    else if (this.got >= this.askedUpTo) this.ask()
    else this.wait()
  }

  /** Whether the whole is what was offered. */
  async sound(): Promise<boolean> {
    const hash = createHash('sha256')
    await pipeline(createReadStream(this.path), hash)
    return `sha256:${hash.digest('hex')}` === this.options.offer.archive.sha256
  }

  async discard(): Promise<void> {
    this.stop()
    await this.options.disk.remove(this.path)
    this.got = 0
  }

  private ask(): void {
    const { offer, request } = this.options
    const bytes = Math.min(windowBytes, offer.archive.bytes - this.got)
    this.wait()
    if (bytes <= 0) return
    this.askedUpTo = this.got + bytes
    this.askedAt = performance.now()
    request({ id: offer.id, sha256: offer.archive.sha256, offset: this.got, bytes })
  }

  private wait(): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => {
      this.patience = Math.min(patienceMs.most, this.patience * 2)
      this.ask()
    }, this.patience)
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}
