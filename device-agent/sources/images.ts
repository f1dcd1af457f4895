import type { ImageExtents, ImageSet } from '@faultline/inference'
import { Pacer } from './pacer.ts'
import type { Source, SourceWindow } from './source.ts'

export interface ImagesOptions {
  images: ImageSet
  /** Of every image. */
  extents: ImageExtents
  /** Time from one image to the next. */
  intervalMs: number
  /** Begins again after the last image; otherwise the source ends. */
  loop?: boolean
}

/** Images of a set, one after the other, as a camera would give them. */
export class ImageSource implements Source {
  /** An image has no rate. */
  readonly rateHz = 0
  readonly windowSamples: number
  readonly intervalMs: number
  private readonly options: ImagesOptions
  private readonly pacer: Pacer
  private next = 0

  constructor(options: ImagesOptions) {
    const { extents, intervalMs } = options
    this.options = options
    this.windowSamples = extents.reduce((product, extent) => product * extent, 1)
    this.intervalMs = intervalMs
    this.pacer = new Pacer(intervalMs)
  }

  get overruns(): number {
    return this.pacer.overruns
  }

  /** Goes on where it was left: an image that cannot be read is passed over, not tried for ever. */
  async *windows(signal: AbortSignal): AsyncGenerator<SourceWindow, void, void> {
    const { images, loop } = this.options
    const first = this.next
    for await (const { index, at } of this.pacer.ticks(signal)) {
      const number = first + index
      if (number >= images.count && !loop) return
      this.next = number + 1
      const { window, class: truth } = await images.read(number % images.count)
      yield { window, at, ...(truth !== undefined && { truth }) }
    }
  }
}
