import type { Bundle } from '../bundle/bundle.ts'
import type { Engine, Network } from './engine.ts'
import { loadTfjs } from './tfjs.ts'

/** TF.js on the native TensorFlow library. An optional package: its install downloads a library that many CPUs lack. */
export class TfjsNodeEngine implements Engine {
  readonly name = 'tfjs-node'

  supports({ description }: Bundle): boolean {
    return description.formats.tfjs !== undefined
  }

  load(bundle: Bundle): Promise<Network> {
    return loadTfjs(bundle, { engine: this.name, backend: 'tensorflow', register })
  }
}

/** A variable, so that the type checker does not ask for a package that may be absent. */
const optionalPackage: string = '@tensorflow/tfjs-node'

/** Importing the package registers its backend with the one TF.js of the process. */
async function register(): Promise<void> {
  // TensorFlow writes notes about the CPU past the log; only errors are wanted.
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2'
  await import(optionalPackage)
}
