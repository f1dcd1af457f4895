import type { RecordingInfo, Window } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { Pacer } from './pacer.ts'
import type { Source, SourceWindow } from './source.ts'

export interface ReplayOptions {
  /** A recording of one's own says nothing of what was the matter. */
  recording: Pick<RecordingInfo, 'id' | 'rateHz' | 'shaftHz'> & { class?: string }
  samples: Float32Array
  windowSamples: number
  /** First sample, and the one after the last; the whole recording when absent. */
  from?: number
  to?: number
  /** Begins again at `from` when the recording ends; otherwise the source ends. */
  loop?: boolean
  /** Windows per second relative to how they were recorded. */
  speed?: number
}

/** Windows of a recording, one after the other without overlap, as fast as they were recorded or `speed` times that. */
export class ReplaySource implements Source {
  readonly rateHz: number
  readonly windowSamples: number
  private readonly options: ReplayOptions
  private readonly from: number
  private readonly count: number
  private readonly pacer: Pacer

  /** Throws `RECORDING_INVALID` when the range does not lie in the recording or holds no window. */
  constructor(options: ReplayOptions) {
    const { recording, samples, windowSamples, from = 0, to = samples.length, speed = 1 } = options
    if (from < 0 || to > samples.length || to - from < windowSamples) {
      throw new FaultlineError(
        'RECORDING_INVALID',
        `${recording.id}: samples ${from} to ${to} of ${samples.length} do not hold a window of ${windowSamples}`,
      )
    }
    this.options = options
    this.rateHz = recording.rateHz
    this.windowSamples = windowSamples
    this.from = from
    this.count = Math.floor((to - from) / windowSamples)
    this.pacer = new Pacer((windowSamples / recording.rateHz / speed) * 1_000)
  }

  get intervalMs(): number {
    return this.pacer.intervalMs
  }

  get overruns(): number {
    return this.pacer.overruns
  }

  async *windows(signal: AbortSignal): AsyncGenerator<SourceWindow, void, void> {
    for await (const { index, at } of this.pacer.ticks(signal)) {
      if (index >= this.count && !this.options.loop) return
      const { class: truth } = this.options.recording
      yield { window: this.windowAt(index % this.count), at, ...(truth !== undefined && { truth }) }
    }
  }

  private windowAt(index: number): Window {
    const { recording, samples } = this.options
    const start = this.from + index * this.windowSamples
    return {
      samples: samples.slice(start, start + this.windowSamples),
      shape: [this.windowSamples],
      rateHz: this.rateHz,
      ...(recording.shaftHz !== undefined && { shaftHz: recording.shaftHz }),
    }
  }
}
