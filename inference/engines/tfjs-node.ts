import type { Bundle } from '../bundle/bundle.ts'
import type { Engine, Network } from './engine.ts'
import { loadTfjs } from './tfjs.ts'
import { defineUtilHelpers } from './util-helpers.ts'

/** TF.js on the native TensorFlow library. An optional package: its install downloads a library that many CPUs lack. */
export class TfjsNodeEngine implements Engine {
  readonly name = 'tfjs-node'

  supports({ description }: Bundle): boolean {
    return description.formats.tfjs !== undefined
  }

  load(bundle: Bundle): Promise<Network> {
    return loadTfjs(bundle, { engine: this.name, backend: 'tensorflow', register: importTfjsNode })
  }
}

/** A variable, so that the type checker does not ask for a package that may be absent. */
const optionalPackage: string = '@tensorflow/tfjs-node'

/** Importing the package registers its backend, `tensorflow`, with the one TF.js of the process. Rejects where it is not installed. */
export async function importTfjsNode(): Promise<void> {
  // TensorFlow writes notes about the CPU past the log; only errors are wanted.
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2'
  defineUtilHelpers()
  await import(optionalPackage)
}
