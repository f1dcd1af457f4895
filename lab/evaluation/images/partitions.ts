import { type Network, openOnnx } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { readLayers } from '../../import/tfjs-model.ts'
import { type Crossing, exportPart, extentsOf } from '../../onnx/export.ts'
import { argmaxRows } from '../../training/metrics.ts'
import { type Boundary, boundariesOf } from './boundaries.ts'

/** One way to cut the server's network. */
export interface Cut {
  boundary: Boundary
  /** What runs on the device; null where the image itself is sent. */
  head: Network | null
  /** What runs on the server; null where the whole network is on the device. */
  tail: Network | null
}

/** Two parts that give another answer than the whole are a mistake; engines round by less. */
const TOLERANCE = 1e-3

/**
 * A network with all its cuts, every part an ONNX network of its own on one core: the engine that device and server run.
 * Activations cross with their channels first, as the engine keeps them.
 */
export class Partitions {
  readonly cuts: readonly Cut[]
  readonly #whole: Network

  private constructor(cuts: readonly Cut[], whole: Network) {
    this.cuts = cuts
    this.#whole = whole
  }

  /**
   * Opens the layers model in a bundle's directory. Throws `MODEL_UNREADABLE`, `MODEL_IMPORT_UNSUPPORTED`,
   * `MODEL_EXPORT_UNSUPPORTED` and the coded errors of the engine.
   */
  static async open(directory: string): Promise<Partitions> {
    const model = await readLayers(directory)
    const opened: Network[] = []
    const part = async (from: Crossing, to: Crossing) => {
      const network = await openOnnx(exportPart(model.name, from, to), { shape: extentsOf(from), path: directory })
      opened.push(network)
      return network
    }
    try {
      const [first, ...inner] = boundariesOf(model) as [Boundary, ...Boundary[]]
      const last = inner.pop()!
      const [start, end] = [first, last].map(({ tensors }): Crossing => ({ tensors, layout: 'last' })) as [
        Crossing,
        Crossing,
      ]
      const whole = await part(start, end)
      const cuts: Cut[] = [{ boundary: first, head: null, tail: whole }]
      for (const boundary of inner) {
        const crossing: Crossing = { tensors: boundary.tensors, layout: 'first' }
        cuts.push({ boundary, head: await part(start, crossing), tail: await part(crossing, end) })
      }
      cuts.push({ boundary: last, head: whole, tail: null })
      return new Partitions(cuts, whole)
    } catch (error) {
      await Promise.all(opened.map(network => network.dispose()))
      throw error
    } finally {
      model.dispose()
    }
  }

  /** What crosses at a cut for one prepared image. */
  async crossing({ head }: Cut, image: Float32Array): Promise<Float32Array> {
    return head ? head.run(image, 1) : image
  }

  /** Throws `ENGINE_LOAD_FAILED` where head and tail together give another answer than the whole. */
  async check(image: Float32Array): Promise<void> {
    const whole = await this.#whole.run(image, 1)
    for (const cut of this.cuts) {
      const crossed = await this.crossing(cut, image)
      const answer = cut.tail ? await cut.tail.run(crossed, 1) : crossed
      if (answer.every((value, i) => Math.abs(value - whole[i]!) <= TOLERANCE)) continue
      throw new FaultlineError('ENGINE_LOAD_FAILED', `cut after ${cut.boundary.after}, the network answers differently`)
    }
  }

  /** Share of images that the network answers the same when what crosses is rounded to 8 bits. */
  async agreement(cut: Cut, images: readonly Float32Array[]): Promise<number> {
    let same = 0
    for (const image of images) {
      const whole = await this.#whole.run(image, 1)
      const crossed = roundedTo8Bits(await this.crossing(cut, image))
      const answer = cut.tail ? await cut.tail.run(crossed, 1) : crossed
      if (argmaxRows(answer, answer.length)[0] === argmaxRows(whole, whole.length)[0]) same++
    }
    return same / images.length
  }

  async dispose(): Promise<void> {
    const networks = new Set(this.cuts.flatMap(({ head, tail }) => [head, tail]))
    await Promise.all([...networks].map(network => network?.dispose()))
  }
}

/** 256 equal steps from the lowest value to the highest. */
export function roundedTo8Bits(values: Float32Array): Float32Array {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const value of values) {
    low = Math.min(low, value)
    high = Math.max(high, value)
  }
  const step = (high - low) / 255
  return step > 0 ? values.map(value => low + Math.round((value - low) / step) * step) : values
}
