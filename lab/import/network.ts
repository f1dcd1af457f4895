import { stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import type { BundleNetworks, EngineName } from '@faultline/inference'
import { toFaultlineError } from '@faultline/protocol'
import { readOnnx } from './onnx-file.ts'
import { readTfjs } from './tfjs-model.ts'

/** Extents without the batch; undefined where the file leaves one open. */
export type OpenShape = readonly (number | undefined)[]

/** A model as its file describes it. */
export interface ImportedNetwork {
  /** What wrote it, in words. */
  origin: string
  /** The engine of the format it came in: what it says is right. */
  engine: EngineName
  networks: BundleNetworks
  input: OpenShape
  output: OpenShape
  /** What a person should know, one sentence each. */
  notes: readonly string[]
}

/**
 * Reads an `.onnx` file, or a TF.js model by its directory or its `model.json`.
 * Throws `MODEL_UNREADABLE` or `MODEL_IMPORT_UNSUPPORTED`.
 */
export async function readNetwork(path: string): Promise<ImportedNetwork> {
  const found = await stat(path).catch(cause => {
    throw toFaultlineError(cause, 'MODEL_UNREADABLE', path)
  })
  if (found.isDirectory()) return readTfjs(path)
  return basename(path) === 'model.json' ? readTfjs(dirname(path)) : readOnnx(path)
}
