import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { writeBundle } from '@faultline/inference'
import * as tf from '@tensorflow/tfjs'
import { exportOnnx } from '../../lab/onnx/export.ts'
import { cifarClasses, cifarInput } from '../../lab/training/images/cifar.ts'
import { root } from './processes.ts'
import { temporaryDirectory } from './temp.ts'

export interface ImageModels {
  /** Directories of the bundles. */
  local: string
  server: string
  /** False of the stand-ins, which have learned nothing. */
  trained: boolean
}

/** The shipped pair for CIFAR-10; where it is not there, two untrained networks of the same task. */
export async function imageModels(t: TestContext): Promise<ImageModels> {
  const [local, server] = ['image-local', 'image-server'].map(name => join(root, 'models', name)) as [string, string]
  if (existsSync(join(local, 'bundle.json')) && existsSync(join(server, 'bundle.json')))
    return { local, server, trained: true }
  const directory = await temporaryDirectory(t)
  return { local: await make(directory, 'local', 1), server: await make(directory, 'server', 2), trained: false }
}

async function make(directory: string, role: 'local' | 'server', seed: number): Promise<string> {
  await tf.setBackend('cpu')
  const model = tf.sequential({
    layers: [
      tf.layers.averagePooling2d({ inputShape: [32, 32, 3], poolSize: 8 }),
      tf.layers.flatten(),
      tf.layers.dense({ units: cifarClasses.length, kernelInitializer: tf.initializers.glorotUniform({ seed }) }),
    ],
  })
  const inputs = tf.randomNormal([2, 32, 32, 3], 0, 1, 'float32', seed)
  const outputs = (model.predict(inputs) as tf.Tensor).arraySync() as number[][]
  const out = join(directory, role)
  await writeBundle(
    out,
    {
      format: 1,
      name: `image-${role}`,
      version: '1.0.0',
      task: 'image-class',
      role,
      classes: [...cifarClasses],
      input: { ...cifarInput, mean: [...cifarInput.mean], std: [...cifarInput.std] },
      output: 'logits',
      calibration: { temperature: 1, threshold: 0.9 },
      golden: { tolerance: 1e-3, inputs: tf.reshape(inputs, [2, -1]).arraySync() as number[][], outputs },
      training: {
        at: '2026-01-01T00:00:00.000Z',
        data: [],
        seed,
        note: 'Untrained.',
        split: { train: [], validation: [], test: [] },
        metrics: {},
      },
    },
    { onnx: exportOnnx(model) },
  )
  model.dispose()
  return out
}
