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

async function choose(): Promise<TrainingBackend> {
  // TF.js suggests tfjs-node on standard output, which is kept for results.
  tf.env().set('PROD', true)
  // TensorFlow writes its build's options to standard error otherwise.
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2'
  // A variable, because the package is optional and its types may be absent.
  const native = '@tensorflow/tfjs-node'
  const attempts: [TrainingBackend, () => Promise<unknown>][] = [
    ['tensorflow', () => import(native)],
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
