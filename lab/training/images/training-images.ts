import type { Random } from '@faultline/inference'

/** Mean and standard deviation of each colour over CIFAR-10's training images, in shares of full scale. */
export const colours = { mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] } as const

/** Furthest an image is moved, in pixels each way. */
const SHIFT = 2

/** Labelled images of one size in memory, as bytes: height x width x channels each. */
export class TrainingImages {
  readonly pixels: Uint8Array
  readonly labels: Uint8Array
  readonly height: number
  readonly width: number
  readonly channels = 3
  /** What a byte becomes, per channel. */
  readonly #tables: Float32Array[]

  constructor(pixels: Uint8Array, labels: Uint8Array, height: number, width: number) {
    this.pixels = pixels
    this.labels = labels
    this.height = height
    this.width = width
    this.#tables = colours.mean.map((mean, channel) =>
      Float32Array.from({ length: 256 }, (_, byte) => (byte / 255 - mean) / colours.std[channel]!),
    )
  }

  get count(): number {
    return this.labels.length
  }

  /** Values in one image. */
  get size(): number {
    return this.height * this.width * this.channels
  }

  /** One prepared value. */
  value(image: number, y: number, x: number, channel: number): number {
    return this.#tables[channel]![this.pixels[image * this.size + (y * this.width + x) * this.channels + channel]!]!
  }

  slice(from: number, to: number): TrainingImages {
    const { pixels, labels, size, height, width } = this
    return new TrainingImages(pixels.subarray(from * size, to * size), labels.subarray(from, to), height, width)
  }

  /** Images as they are, prepared, row after row. */
  prepared(images: Uint32Array): Float32Array {
    const out = new Float32Array(images.length * this.size)
    for (const [row, image] of images.entries()) this.#copy(image, out, row, false, 0, 0)
    return out
  }

  /**
   * Images prepared and varied: each moved by up to two pixels, its border mirrored, and every image seen as it is and
   * as in a mirror in turn from epoch to epoch (Jordan, arXiv 2404.00498, section 3.6).
   */
  varied(images: Uint32Array, epoch: number, random: Random): Float32Array {
    const out = new Float32Array(images.length * this.size)
    const shift = () => Math.floor(random.uniform() * (2 * SHIFT + 1)) - SHIFT
    for (const [row, image] of images.entries())
      this.#copy(image, out, row, this.mirrors(image, epoch), shift(), shift())
    return out
  }

  /** Whether an image is mirrored in an epoch: half of them at first, and each the other way round next time. */
  mirrors(image: number, epoch: number): boolean {
    return ((Math.imul(image + 1, 0x9e3779b1) >>> 31) ^ (epoch & 1)) === 1
  }

  #copy(image: number, out: Float32Array, row: number, mirrored: boolean, down: number, right: number): void {
    const { pixels, size, height, width, channels } = this
    const [red, green, blue] = this.#tables as [Float32Array, Float32Array, Float32Array]
    const from = image * size
    let to = row * size
    for (let y = 0; y < height; y++) {
      const line = from + reflected(y + down, height) * width * channels
      for (let x = 0; x < width; x++) {
        const column = reflected(x + right, width)
        const at = line + (mirrored ? width - 1 - column : column) * channels
        out[to++] = red[pixels[at]!]!
        out[to++] = green[pixels[at + 1]!]!
        out[to++] = blue[pixels[at + 2]!]!
      }
    }
  }
}

/** An index outside 0..length-1 as a mirror at the border shows it. */
function reflected(index: number, length: number): number {
  if (index < 0) return -index
  return index < length ? index : 2 * (length - 1) - index
}
