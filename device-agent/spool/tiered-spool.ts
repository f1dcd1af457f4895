import type { DatabaseSync } from '@faultline/runtime'
import { type NewMessage, Spool, type SpoolBounds, type SpooledMessage, type WaitingMessages } from './spool.ts'
import type { Store } from './store.ts'

/** What waits in memory may take no more than this of it. */
const maxBytesInMemory = 16 * 2 ** 20
/** Numbers of messages begin here where those on the disk are not known: above all of them. */
const beyondAll = 2 ** 45

const bySeq = (a: SpooledMessage, b: SpooledMessage): number => a.seq - b.seq

/**
 * Messages that the broker has not acknowledged: on the disk, and in memory what the disk does not take. What waits in
 * memory keeps its number when it moves to the disk. Nothing here throws because of the disk.
 */
export class TieredSpool implements WaitingMessages {
  private readonly store: Store
  private readonly bounds: Partial<SpoolBounds>
  private readonly memory: Spool
  private onDisk: { database: DatabaseSync; spool: Spool } | undefined
  private newest: number
  /** Given up by spools of files that are set aside, and what was in these. */
  private lost = 0

  constructor(store: Store, bounds: Partial<SpoolBounds> = {}) {
    this.store = store
    this.bounds = bounds
    const bytes = Math.min(bounds.bytes ?? maxBytesInMemory, maxBytesInMemory)
    this.memory = new Spool(store.memory, { ...bounds, bytes })
    const disk = this.diskSpool()
    this.newest = Math.max(disk?.lastSeq ?? beyondAll + Date.now(), this.memory.lastSeq)
    store.on('writable', () => this.move())
  }

  get size(): number {
    return (this.diskSpool()?.size ?? 0) + this.memory.size
  }

  /** Messages that wait in memory. */
  get inMemory(): number {
    return this.memory.size
  }

  get setAside(): number {
    return (this.fromDisk(spool => spool.setAside) ?? 0) + this.memory.setAside
  }

  get lastSeq(): number {
    return this.newest
  }

  get dropped(): number {
    return this.store.lost + this.lost + (this.onDisk?.spool.dropped ?? 0) + this.memory.dropped
  }

  add(message: NewMessage): void {
    const seq = this.newest + 1
    const disk = this.diskSpool()
    if (!disk || !this.store.write(() => disk.add(message, seq))) this.memory.add(message, seq)
    this.newest = seq
  }

  results(limit: number): SpooledMessage[] {
    return this.merged(limit, spool => spool.results(limit))
  }

  reports(after: number, upTo: number, limit: number): SpooledMessage[] {
    return this.merged(limit, spool => spool.reports(after, upTo, limit))
  }

  /** Those in memory are the newest, and go first. */
  escalations(limit: number): SpooledMessage[] {
    const newest = this.memory.escalations(limit)
    return [...newest, ...(this.fromDisk(spool => spool.escalations(limit)) ?? [])].slice(0, limit)
  }

  suspects(limit: number): SpooledMessage[] {
    return this.merged(limit, spool => spool.suspects(limit))
  }

  tried(seq: number): boolean {
    const disk = this.diskSpool()
    let isSetAside = false
    if (disk) {
      this.store.write(() => {
        isSetAside = disk.tried(seq)
      })
    }
    return isSetAside || (this.memory.size > 0 && this.memory.tried(seq))
  }

  acknowledge(seq: number): void {
    if (this.memory.size > 0) this.memory.acknowledge(seq)
    this.fromDisk(spool => spool.acknowledge(seq))
  }

  flush(): void {
    const disk = this.diskSpool()
    if (disk) this.store.write(() => disk.flush())
    this.memory.flush()
  }

  private merged(limit: number, of: (spool: Spool) => SpooledMessage[]): SpooledMessage[] {
    const disk = this.fromDisk(of) ?? []
    return this.memory.size === 0 ? disk : [...disk, ...of(this.memory)].sort(bySeq).slice(0, limit)
  }

  private move(): void {
    const disk = this.diskSpool()
    if (!disk) return
    this.newest = Math.max(this.newest, disk.lastSeq)
    this.store.write(() => this.memory.moveTo(disk))
  }

  private fromDisk<T>(work: (spool: Spool) => T): T | undefined {
    const disk = this.diskSpool()
    return disk && this.store.read(() => work(disk))
  }

  /** The spool of the database that is open now; the last one where there is none, for its counts. */
  private diskSpool(): Spool | undefined {
    const { disk } = this.store
    if (disk && disk !== this.onDisk?.database) {
      const spool = this.store.read(database => new Spool(database, this.bounds))
      if (!spool) return this.onDisk?.spool
      const { size = 0, dropped = 0 } = this.onDisk?.spool ?? {}
      this.lost += size + dropped
      this.onDisk = { database: disk, spool }
    }
    return this.onDisk?.spool
  }
}
