import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type BundleDescription, type TfjsArtifacts, writeBundle } from '@faultline/inference'
import * as tf from '@tensorflow/tfjs'
import { exportOnnx } from '../../lab/onnx/export.ts'

export const tinyClasses: readonly string[] = ['red', 'green', 'blue']
const SIDE = 4

/** What the local model answers for an image of one colour: its probability of `red`, `green` or whatever it says. */
export const sureOfRed: number = Math.exp(4) / (Math.exp(4) + 2)
export const doubtfulGreen: number = Math.exp(1) / (Math.exp(1) + 2)
export const blueAsRed: number = Math.exp(0.5) / (Math.exp(0.5) + 2)

/**
 * Ten images of one colour each: six red, one green, two blue, and a red one that is labelled blue. The server is right
 * about all but the last; the local model takes blue for red, without being sure.
 */
export const tinyColours: readonly (readonly [label: number, colour: number])[] = [
  ...Array.from({ length: 6 }, () => [0, 0] as const),
  [1, 1],
  [2, 2],
  [2, 2],
  [2, 0],
]

/** A convolution that hands its channels on, their means, and one dense layer with these logits per full colour. */
function colourNetwork(name: string, logits: readonly (readonly number[])[]): tf.LayersModel {
  return tf.sequential({
    name,
    layers: [
      tf.layers.conv2d({
        name: `${name}-conv`,
        inputShape: [SIDE, SIDE, 3],
        filters: 3,
        kernelSize: 1,
        activation: 'relu',
        weights: [tf.tensor4d([1, 0, 0, 0, 1, 0, 0, 0, 1], [1, 1, 3, 3]), tf.zeros([3])],
      }),
      tf.layers.maxPooling2d({ name: `${name}-pool`, poolSize: 2 }),
      tf.layers.globalAveragePooling2d({ name: `${name}-mean` }),
      tf.layers.dense({
        name: `${name}-dense`,
        units: 3,
        activation: 'softmax',
        useBias: false,
        weights: [tf.tensor2d(logits.map(row => [...row]))],
      }),
    ],
  })
}

/** Writes `image-local` and `image-server`; returns nothing but files. */
export async function writeTinyPair(directory: string, { layers = true } = {}): Promise<void> {
  await tf.setBackend('cpu')
  const pair = {
    local: colourNetwork('image-local', [
      [4, 0, 0],
      [0, 1, 0],
      [0.5, 0, 0],
    ]),
    server: colourNetwork('image-server', [
      [4, 0, 0],
      [0, 4, 0],
      [0, 0, 4],
    ]),
  }
  for (const [role, network] of Object.entries(pair) as ['local' | 'server', tf.LayersModel][]) {
    let artifacts: tf.io.ModelArtifacts = {}
    await network.save(
      tf.io.withSaveHandler(async saved => {
        artifacts = saved
        return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } }
      }),
    )
    const input = Array.from({ length: SIDE * SIDE * 3 }, (_, i) => Number(i % 3 === 0))
    const output = network.predict(tf.tensor4d(input, [1, SIDE, SIDE, 3])) as tf.Tensor
    const description: Omit<BundleDescription, 'formats'> = {
      format: 1,
      name: `image-${role}`,
      version: '1.0.0',
      task: 'image-class',
      role,
      classes: [...tinyClasses],
      input: { kind: 'image', shape: [SIDE, SIDE, 3], layout: 'hwc', mean: [0, 0, 0], std: [1, 1, 1] },
      output: 'probabilities',
      calibration: role === 'local' ? { temperature: 1, threshold: 0.5 } : { temperature: 1 },
      golden: { tolerance: 1e-4, inputs: [input], outputs: [Array.from(output.dataSync())] },
      training: {
        at: new Date(0).toISOString(),
        data: [],
        seed: 1,
        note: '',
        split: { train: [], validation: [], test: [] },
        metrics: {},
      },
    }
    const tfjs = layers ? { tfjs: artifacts as TfjsArtifacts } : {}
    await writeBundle(join(directory, `image-${role}`), description, { onnx: exportOnnx(network), ...tfjs })
  }
}

/** Writes the images as CIFAR-10 has them. */
export async function writeTinyTest(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true })
  const plane = SIDE * SIDE
  const records = tinyColours.map(([label, colour]) => [
    label,
    ...Array.from({ length: 3 * plane }, (_, i) => (Math.floor(i / plane) === colour ? 255 : 0)),
  ])
  await writeFile(join(directory, 'test_batch.bin'), Buffer.from(records.flat()))
}
