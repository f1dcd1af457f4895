interface RecentMapOptions<V> {
  limit: number
  /** Entries that go last of all. */
  isHeld: (value: V, key: string) => boolean
  onLost?: (key: string) => void
}

/**
 * A map that names in payloads cannot fill the memory with: past its limit the entry that was reached longest ago goes,
 * and one that is held only when all are.
 */
export class RecentMap<V> {
  private readonly options: RecentMapOptions<V>
  /** A `Map` keeps the order of insertion: oldest first. */
  private readonly kept = new Map<string, V>()

  constructor(options: RecentMapOptions<V>) {
    this.options = options
  }

  get size(): number {
    return this.kept.size
  }

  /** Looks without making the entry a recent one. */
  get(key: string): V | undefined {
    return this.kept.get(key)
  }

  /** The entry, made when it is absent, as the most recent one from now on. */
  reach(key: string, make: () => V): V {
    const value = this.kept.get(key) ?? make()
    this.set(key, value)
    return value
  }

  set(key: string, value: V): void {
    this.kept.delete(key)
    if (this.kept.size >= this.options.limit) this.makeRoom()
    this.kept.set(key, value)
  }

  delete(key: string): void {
    this.kept.delete(key)
  }

  values(): MapIterator<V> {
    return this.kept.values()
  }

  entries(): MapIterator<[string, V]> {
    return this.kept.entries()
  }

  private makeRoom(): void {
    let oldest: string | undefined
    for (const [key, value] of this.kept) {
      oldest ??= key
      if (this.options.isHeld(value, key)) continue
      oldest = key
      break
    }
    if (oldest === undefined) return
    this.kept.delete(oldest)
    this.options.onLost?.(oldest)
  }
}
