import type { Engine, EngineName } from './engine.ts'
import { OnnxEngine } from './onnx.ts'
import { TfjsNodeEngine } from './tfjs-node.ts'
import { TfjsWasmEngine } from './tfjs-wasm.ts'

const engines: Record<EngineName, () => Engine> = {
  onnx: () => new OnnxEngine(),
  'tfjs-node': () => new TfjsNodeEngine(),
  'tfjs-wasm': () => new TfjsWasmEngine(),
}

export function createEngine(name: EngineName): Engine {
  return engines[name]()
}
