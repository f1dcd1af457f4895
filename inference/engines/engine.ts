import type { Bundle } from '../bundle/bundle.ts'

export const engineNames = ['onnx', 'tfjs-node', 'tfjs-wasm'] as const
export type EngineName = (typeof engineNames)[number]

/** A network loaded by an engine. Takes prepared inputs and returns probabilities; knows nothing of windows. */
export interface Network {
  readonly engine: EngineName
  /**
   * Runs a batch. `inputs` holds `batch` inputs one after the other, each of the bundle's input size; the answer holds
   * `batch` rows of one value per class (probabilities, or logits where the bundle says so).
   */
  run(inputs: Float32Array, batch: number): Promise<Float32Array>
  /** Frees native memory; the network cannot be used afterwards. Idempotent. */
  dispose(): Promise<void>
}

/** A library that can run networks. Constructing one has no effect; the library is imported on the first `load`. */
export interface Engine {
  readonly name: EngineName
  /** True when the bundle holds the network in this engine's format. */
  supports(bundle: Bundle): boolean
  /** Loads the bundle's network. Throws `ENGINE_UNAVAILABLE` or `ENGINE_LOAD_FAILED`. */
  load(bundle: Bundle): Promise<Network>
}
