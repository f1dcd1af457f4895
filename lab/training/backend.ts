import { importTfjsNode } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import * as tf from '@tensorflow/tfjs'
import '@tensorflow/tfjs-backend-wasm'

export type TrainingBackend = 'tensorflow' | 'wasm' | 'cpu'

let chosen: Promise<TrainingBackend> | undefined

/**
 * Chooses what TF.js trains on, once per process: the native library where it is installed, otherwise WebAssembly,
 * otherwise plain JavaScript. WebAssembly lacks the gradients of convolutions; dense networks train on all three.
 */
export function chooseBackend(): Promise<TrainingBackend> {
  chosen ??= choose()
  return chosen
}

/** For networks that only TensorFlow's native library trains in reasonable time. Throws `ENGINE_UNAVAILABLE`. */
export async function requireNativeBackend(): Promise<void> {
  if ((await chooseBackend()) !== 'tensorflow')
    throw new FaultlineError(
      'ENGINE_UNAVAILABLE',
      'training images needs @tensorflow/tfjs-node, which is not installed here',
    )
}

async function choose(): Promise<TrainingBackend> {
  // TF.js suggests tfjs-node on standard output, which is kept for results.
  tf.env().set('PROD', true)
  // Convolutions are two to three times faster with oneDNN, which TensorFlow leaves off on most processors.
  process.env.TF_ENABLE_ONEDNN_OPTS ??= '1'
  const attempts: [TrainingBackend, () => Promise<unknown>][] = [
    ['tensorflow', importTfjsNode],
    ['wasm', async () => {}],
    ['cpu', async () => {}],
  ]
  for (const [backend, load] of attempts) {
    try {
      await load()
      if (await tf.setBackend(backend)) {
        await tf.ready()
        return backend
      }
    } catch {
      // Not here; the next one may be.
    }
  }
  throw new Error('TF.js has no backend')
}
