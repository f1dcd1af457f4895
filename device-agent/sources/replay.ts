import type { RecordingInfo, Window } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { Pacer } from './pacer.ts'
import type { Source, SourceWindow } from './source.ts'

export interface ReplayOptions {
  /** A recording of one's own says nothing of what was the matter. */
  recording: Pick<RecordingInfo, 'id' | 'rateHz' | 'shaftHz'> & { class?: string }
  samples: Float32Array
  /** Samples before which others are missing: no window reaches over them. */
  gaps?: readonly number[]
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
  /** First samples of the windows. */
  private readonly starts: readonly number[]
  private readonly pacer: Pacer

  /** Throws `RECORDING_INVALID` when the range does not lie in the recording or holds no window. */
  constructor(options: ReplayOptions) {
    const { recording, samples, windowSamples, gaps = [], from = 0, to = samples.length, speed = 1 } = options
    this.starts = startsOf({ from, to, gaps, windowSamples })
    if (from < 0 || to > samples.length || this.starts.length === 0) {
      throw new FaultlineError(
        'RECORDING_INVALID',
        `${recording.id}: samples ${from} to ${to} of ${samples.length} do not hold a window of ${windowSamples}${gaps.length > 0 ? ' without a gap' : ''}`,
      )
    }
    this.options = options
    this.rateHz = recording.rateHz
    this.windowSamples = windowSamples
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
      if (index >= this.starts.length && !this.options.loop) return
      const { class: truth } = this.options.recording
      yield {
        window: this.windowAt(this.starts[index % this.starts.length]!),
        at,
        ...(truth !== undefined && { truth }),
      }
    }
  }

  private windowAt(start: number): Window {
    const { recording, samples } = this.options
    return {
      samples: samples.slice(start, start + this.windowSamples),
      shape: [this.windowSamples],
      rateHz: this.rateHz,
      ...(recording.shaftHz !== undefined && { shaftHz: recording.shaftHz }),
    }
  }
}

/** Windows follow one another without overlap from the first sample, and again from each gap. */
function startsOf({
  from,
  to,
  gaps,
  windowSamples,
}: {
  from: number
  to: number
  gaps: readonly number[]
  windowSamples: number
}): number[] {
  const edges = [from, ...gaps.filter(gap => gap > from && gap < to), to]
  return edges.slice(1).flatMap((end, i) => {
    const count = Math.max(0, Math.floor((end - edges[i]!) / windowSamples))
    return Array.from({ length: count }, (_, window) => edges[i]! + window * windowSamples)
  })
}
