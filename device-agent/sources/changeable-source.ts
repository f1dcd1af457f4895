import type { Source, SourceWindow } from './source.ts'

/** One source in the place of another while windows are taken: whoever takes them notices only that they are others. */
export class ChangeableSource implements Source {
  private current: Source
  private next: (() => Promise<Source>) | undefined
  private change = new AbortController()
  private overrunsBefore = 0

  constructor(source: Source) {
    this.current = source
  }

  get rateHz(): number {
    return this.current.rateHz
  }

  get windowSamples(): number {
    return this.current.windowSamples
  }

  get intervalMs(): number {
    return this.current.intervalMs
  }

  get overruns(): number {
    return this.overrunsBefore + this.current.overruns
  }

  get foreign(): number | undefined {
    return this.current.foreign
  }

  /** From the next window on. The other source is made when its windows are taken. */
  replace(make: () => Promise<Source>): void {
    this.next = make
    this.change.abort()
  }

  /** Throws what making a source throws, also every time it is tried again, and the errors of sources. */
  async *windows(signal: AbortSignal): AsyncGenerator<SourceWindow, void, void> {
    while (!signal.aborted) {
      this.change = new AbortController()
      const { signal: changed } = this.change
      await this.turn()
      // While it was made, yet another may have been asked for.
      if (!changed.aborted) yield* this.current.windows(AbortSignal.any([signal, changed]))
      if (!changed.aborted) return
    }
  }

  private async turn(): Promise<void> {
    const { next } = this
    if (!next) return
    const source = await next()
    this.overrunsBefore += this.current.overruns - source.overruns
    this.current = source
    if (this.next === next) this.next = undefined
  }
}
