import { type RecordingInfo, resample, type Window } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { Pacer } from './pacer.ts'
import type { Source, SourceWindow } from './source.ts'
import { checkBand, sameRate } from './source-rate.ts'

export interface ReplayOptions {
  /** A recording of one's own says nothing of what was the matter. */
  recording: Pick<RecordingInfo, 'id' | 'rateHz' | 'shaftHz'> & { class?: string }
  samples: Float32Array
  /** Samples before which others are missing: no window reaches over them. */
  gaps?: readonly number[]
  windowSamples: number
  /** Of the windows, where it is another than the recording's; that is resampled then. */
  rateHz?: number
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
  /** What is played between one gap and the next, at the rate of the windows. */
  private readonly pieces: readonly Float32Array[]
  /** Where windows begin: the piece, and the sample in it. */
  private readonly starts: readonly { piece: number; at: number }[]
  private readonly pacer: Pacer

  /**
   * Throws `RECORDING_INVALID` when the range does not lie in the recording or holds no window, or when the recording is too
   * slow for the rate of the windows.
   */
  constructor(options: ReplayOptions) {
    const { recording, samples, windowSamples, gaps = [], from = 0, to = samples.length, speed = 1 } = options
    const { rateHz = recording.rateHz } = options
    checkBand(recording.id, recording.rateHz, rateHz, 'RECORDING_INVALID')
    const resampled = !sameRate(recording.rateHz, rateHz)
    const edges = [from, ...gaps.filter(gap => gap > from && gap < to), to]
    const pieces = edges.slice(1).map((end, i) => samples.subarray(edges[i]!, end))
    this.pieces = resampled ? pieces.map(piece => resample(piece, recording.rateHz, rateHz)) : pieces
    this.starts = startsOf(this.pieces, windowSamples)
    if (from < 0 || to > samples.length || this.starts.length === 0) {
      const wanted = resampled ? Math.ceil((windowSamples * recording.rateHz) / rateHz) : windowSamples
      throw new FaultlineError(
        'RECORDING_INVALID',
        `${recording.id}: samples ${from} to ${to} of ${samples.length} do not hold a window of ${wanted}${gaps.length > 0 ? ' without a gap (acrossGaps: true lets windows reach over gaps)' : ''}`,
      )
    }
    this.options = options
    this.rateHz = resampled ? rateHz : recording.rateHz
    this.windowSamples = windowSamples
    this.pacer = new Pacer((windowSamples / this.rateHz / speed) * 1_000)
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

  private windowAt({ piece, at }: { piece: number; at: number }): Window {
    const { recording } = this.options
    return {
      samples: this.pieces[piece]!.slice(at, at + this.windowSamples),
      shape: [this.windowSamples],
      rateHz: this.rateHz,
      ...(recording.shaftHz !== undefined && { shaftHz: recording.shaftHz }),
    }
  }
}

/** Windows follow one another without overlap from the first sample of each piece. */
const startsOf = (pieces: readonly Float32Array[], windowSamples: number): { piece: number; at: number }[] =>
  pieces.flatMap(({ length }, piece) =>
    Array.from({ length: Math.floor(length / windowSamples) }, (_, window) => ({ piece, at: window * windowSamples })),
  )
