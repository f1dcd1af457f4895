import { createRequire } from 'node:module'
import { dirname, sep } from 'node:path'
import type { Bundle } from '../bundle/bundle.ts'
import type { Engine, Network } from './engine.ts'
import { loadTfjs } from './tfjs.ts'

/** TF.js on WebAssembly: slower than native code, and runs on any CPU. */
export class TfjsWasmEngine implements Engine {
  readonly name = 'tfjs-wasm'

  supports({ description }: Bundle): boolean {
    return description.formats.tfjs !== undefined
  }

  load(bundle: Bundle): Promise<Network> {
    return loadTfjs(bundle, { engine: this.name, backend: 'wasm', register })
  }
}

const binary = '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm'
let registered = false

/** The binaries are read from the package; without their path TF.js looks beside the main program. */
async function register(): Promise<void> {
  if (registered) return
  const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm')
  setWasmPaths(dirname(createRequire(import.meta.url).resolve(binary)) + sep)
  registered = true
}
