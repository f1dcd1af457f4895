import type { Random } from '@faultline/inference'
import * as tf from '@tensorflow/tfjs'
import { EPSILON, normaliseAndRectify } from './native-kernels.ts'

/** Filters of each block's two convolutions. */
export interface ImageNetworkShape {
  name: string
  widths: readonly [number, number, number]
}

/** Share of the new batch in a running mean or variance. */
const STATISTICS_RATE = 0.4
/** Keeps the logits of an untrained network small. */
const HEAD_SCALE = 1 / 9

/** One 3 x 3 convolution with its normalisation. */
interface Unit {
  kernel: tf.Variable<tf.Rank.R4>
  offset: tf.Variable<tf.Rank.R1>
  mean: tf.Variable<tf.Rank.R1>
  variance: tf.Variable<tf.Rank.R1>
  pooled: boolean
}

/**
 * A convolutional classifier of small images, after K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv
 * 2404.00498): a fixed convolution that whitens 2 x 2 patches, three blocks of two convolutions with a pooling after
 * the first, and the largest value of each channel into one dense layer. It learns in few epochs, which is what a
 * machine without a graphics card needs; ReLU stands in for GELU, which costs several passes more.
 */
export class ImageNetwork {
  readonly shape: ImageNetworkShape
  readonly #classes: number
  readonly #whitening: tf.Variable<tf.Rank.R4>
  readonly #whiteningOffset: tf.Variable<tf.Rank.R1>
  readonly #units: Unit[] = []
  readonly #head: tf.Variable<tf.Rank.R2>

  /** @param whitening (2, 2, 3, filters), from `whiteningFilters`. */
  constructor(shape: ImageNetworkShape, whitening: tf.Tensor4D, classes: number, random: Random) {
    this.shape = shape
    this.#classes = classes
    this.#whitening = tf.variable(whitening, false)
    this.#whiteningOffset = tf.variable(tf.zeros<tf.Rank.R1>([whitening.shape[3]]))
    let inputs = whitening.shape[3]
    for (const width of shape.widths)
      for (const pooled of [true, false]) {
        this.#units.push(unit(inputs, width, pooled, random))
        inputs = width
      }
    this.#head = tf.variable(tf.tensor2d(uniform(inputs * classes, inputs, random), [inputs, classes]))
  }

  /** Learned by gradient: kernels, which decay, and offsets, which learn faster and do not. */
  get learned(): { kernels: tf.Variable[]; offsets: tf.Variable[] } {
    return {
      kernels: [...this.#units.map(({ kernel }) => kernel), this.#head],
      offsets: [this.#whiteningOffset, ...this.#units.map(({ offset }) => offset)],
    }
  }

  /** Everything that makes the network what it is, in an order that stays. */
  get variables(): tf.Variable[] {
    const units = this.#units.flatMap(({ kernel, offset, mean, variance }) => [kernel, offset, mean, variance])
    return [this.#whitening, this.#whiteningOffset, ...units, this.#head]
  }

  /** Logits of a batch in training, (batch, classes); the running statistics move. Height and width are free. */
  logits(images: tf.Tensor4D): tf.Tensor2D {
    let x = tf.relu(
      tf.add(tf.conv2d(images, this.#whitening as tf.Tensor4D, 1, 'valid'), this.#whiteningOffset),
    ) as tf.Tensor4D
    for (const { kernel, offset, mean, variance, pooled } of this.#units) {
      x = tf.conv2d(x, kernel as tf.Tensor4D, 1, 'same')
      if (pooled) x = tf.maxPool(x, 2, 2, 'valid')
      x = normaliseAndRectify(x, offset as tf.Tensor1D, (batchMean, batchVariance) => {
        approach(mean, batchMean)
        approach(variance, batchVariance)
      })
    }
    const [, height, width] = x.shape
    const largest = tf.reshape(tf.maxPool(x, [height, width], [height, width], 'valid'), [-1, x.shape[3]])
    return tf.mul(tf.matMul(largest as tf.Tensor2D, this.#head as tf.Tensor2D), HEAD_SCALE)
  }

  /**
   * The network as it answers: a layers model from prepared images to logits. Every normalisation is part of the
   * convolution before it; pooling in between makes no difference, because its scale is positive. With
   * `mirrored` it looks at the image twice, the second time with mirrored kernels, which is how it would see the mirror
   * image, and answers with the mean.
   */
  toLayers(size: number, mirrored: boolean): tf.LayersModel {
    const { name } = this.shape
    const input = tf.input({ shape: [size, size, 3], name: `${name}-input` })
    const plain = this.#branch(name, input, kernel => kernel)
    const output = mirrored
      ? tf.layers
          .average({ name: `${name}-mean` })
          .apply([plain, this.#branch(`${name}-mirrored`, input, kernel => tf.reverse(kernel, 1))])
      : plain
    return tf.model({ name, inputs: input, outputs: output as tf.SymbolicTensor })
  }

  #branch(name: string, input: tf.SymbolicTensor, seen: (kernel: tf.Tensor) => tf.Tensor): tf.SymbolicTensor {
    const convolution = (
      label: string,
      kernel: tf.Tensor,
      bias: tf.Tensor,
      padding: 'same' | 'valid',
      linear: boolean,
    ) =>
      tf.layers.conv2d({
        name: `${name}-${label}`,
        filters: kernel.shape[3]!,
        kernelSize: [kernel.shape[0]!, kernel.shape[1]!],
        padding,
        activation: linear ? 'linear' : 'relu',
        weights: [seen(kernel), bias],
      })
    let x = convolution('whitening', this.#whitening, this.#whiteningOffset, 'valid', false).apply(
      input,
    ) as tf.SymbolicTensor
    for (const [i, { kernel, offset, mean, variance, pooled }] of this.#units.entries()) {
      const [folded, bias] = tf.tidy(() => {
        const scale = tf.rsqrt(tf.add(variance, EPSILON))
        return [tf.mul(kernel, scale), tf.sub(offset, tf.mul(mean, scale))]
      }) as [tf.Tensor, tf.Tensor]
      x = convolution(`conv-${i + 1}`, folded, bias, 'same', pooled).apply(x) as tf.SymbolicTensor
      if (!pooled) continue
      x = tf.layers
        .maxPooling2d({ name: `${name}-pool-${i + 1}`, poolSize: 2, strides: 2 })
        .apply(x) as tf.SymbolicTensor
      x = tf.layers.reLU({ name: `${name}-relu-${i + 1}` }).apply(x) as tf.SymbolicTensor
    }
    x = tf.layers.globalMaxPooling2d({ name: `${name}-largest` }).apply(x) as tf.SymbolicTensor
    const head = tf.layers.dense({
      name: `${name}-logits`,
      units: this.#classes,
      useBias: false,
      weights: [tf.mul(this.#head, HEAD_SCALE)],
    })
    return head.apply(x) as tf.SymbolicTensor
  }
}

function unit(inputs: number, outputs: number, pooled: boolean, random: Random): Unit {
  return {
    kernel: tf.variable(startingKernel(inputs, outputs, random)),
    offset: tf.variable(tf.zeros<tf.Rank.R1>([outputs])),
    mean: tf.variable(tf.zeros<tf.Rank.R1>([outputs]), false),
    variance: tf.variable(tf.ones<tf.Rank.R1>([outputs]), false),
    pooled,
  }
}

/** As many filters as there are inputs begin by handing them on (Dirac), the others at random. */
function startingKernel(inputs: number, outputs: number, random: Random): tf.Tensor4D {
  const values = uniform(9 * inputs * outputs, 9 * inputs, random)
  for (let cell = 0; cell < 9; cell++)
    for (let i = 0; i < inputs; i++)
      for (let o = 0; o < Math.min(inputs, outputs); o++)
        values[(cell * inputs + i) * outputs + o] = cell === 4 && i === o ? 1 : 0
  return tf.tensor4d(values, [3, 3, inputs, outputs])
}

/** Uniform between plus and minus 1/sqrt(fan in). */
function uniform(count: number, fanIn: number, random: Random): Float32Array {
  const bound = 1 / Math.sqrt(fanIn)
  return Float32Array.from({ length: count }, () => (2 * random.uniform() - 1) * bound)
}

function approach(running: tf.Variable, batch: tf.Tensor): void {
  running.assign(tf.add(tf.mul(running, 1 - STATISTICS_RATE), tf.mul(batch, STATISTICS_RATE)))
}
