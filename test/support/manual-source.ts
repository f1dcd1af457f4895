import { EventEmitter, once } from 'node:events'
import type { Source, SourceWindow } from '@faultline/device-agent'
import { tinyRateHz, tinySamples, tinyWindow } from './tiny-models.ts'

/** A source that gives a window when a test says so. */
export class ManualSource implements Source {
  readonly rateHz = tinyRateHz
  readonly windowSamples = tinySamples
  readonly intervalMs = 1_000
  readonly overruns = 0
  private readonly waiting: SourceWindow[] = []
  private readonly events = new EventEmitter()

  /** Windows whose first samples are these, in order. */
  give(...firsts: number[]): void {
    for (const first of firsts) {
      this.waiting.push({ window: tinyWindow(first), at: new Date(), truth: first > 0.3 ? 'fault' : 'normal' })
    }
    this.events.emit('given')
  }

  /** A window of one value, as of a sensor that hangs. */
  giveFlat(value: number): void {
    const window = tinyWindow(value)
    this.waiting.push({ window: { ...window, samples: window.samples.map(() => value) }, at: new Date() })
    this.events.emit('given')
  }

  /** The next window cannot be handled. */
  fail(): void {
    this.waiting.push({ window: { ...tinyWindow(0), samples: Float32Array.of(1, 2) }, at: new Date() })
    this.events.emit('given')
  }

  async *windows(signal: AbortSignal): AsyncGenerator<SourceWindow, void, void> {
    while (!signal.aborted) {
      const next = this.waiting.shift()
      if (next) yield next
      else await once(this.events, 'given', { signal }).catch(() => {}) // Only an abort rejects.
    }
  }
}
