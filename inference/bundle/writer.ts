import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { toFaultlineError } from '@faultline/protocol'
import type { Bundle } from './bundle.ts'
import type { BundleDescription, BundleFile } from './description.ts'
import { checkDescription, DESCRIPTION_FILE, digestOf, loadBundle } from './loader.ts'

/** The part of a TF.js layers model's `ModelArtifacts` that a bundle keeps. */
export interface TfjsArtifacts {
  modelTopology?: unknown
  weightSpecs?: unknown[]
  weightData?: ArrayBuffer | ArrayBuffer[]
}

/** The same network in one or more engine formats. */
export interface BundleNetworks {
  onnx?: Uint8Array
  tfjs?: TfjsArtifacts
}

/**
 * Writes a bundle: the networks under fixed names, then `bundle.json` with their sizes and digests, then reads it back.
 * `bundle.json` is put in place last, so that a directory never holds a description of files not yet there.
 * Throws `BUNDLE_INVALID`, `FEATURE_UNKNOWN` or `BUNDLE_UNREADABLE`.
 */
export async function writeBundle(
  directory: string,
  description: Omit<BundleDescription, 'formats'>,
  networks: BundleNetworks,
): Promise<Bundle> {
  const files = new Map<string, Uint8Array>()
  const add = (path: string, bytes: Uint8Array): BundleFile => {
    files.set(path, bytes)
    return { path, sha256: digestOf(bytes), bytes: bytes.byteLength }
  }
  const formats: BundleDescription['formats'] = {}
  if (networks.onnx) formats.onnx = add('network.onnx', networks.onnx)
  if (networks.tfjs)
    formats.tfjs = {
      model: add('model.json', layersModelJson(networks.tfjs)),
      weights: [add('weights.bin', joined(networks.tfjs.weightData))],
    }
  const path = join(directory, DESCRIPTION_FILE)
  const checked = checkDescription({ ...description, formats }, path)
  try {
    await mkdir(directory, { recursive: true })
    for (const [name, bytes] of files) await writeFile(join(directory, name), bytes)
    await writeFile(`${path}.tmp`, `${JSON.stringify(checked, null, 1)}\n`)
    await rename(`${path}.tmp`, path)
  } catch (cause) {
    throw toFaultlineError(cause, 'BUNDLE_UNREADABLE', directory)
  }
  return loadBundle(directory)
}

/** `model.json` as TF.js itself writes it, so that any TF.js program can load it. */
function layersModelJson({ modelTopology, weightSpecs = [] }: TfjsArtifacts): Uint8Array {
  const json = {
    format: 'layers-model',
    modelTopology,
    weightsManifest: [{ paths: ['weights.bin'], weights: weightSpecs }],
  }
  return new TextEncoder().encode(JSON.stringify(json))
}

function joined(data: ArrayBuffer | ArrayBuffer[] = []): Uint8Array {
  const parts = Array.isArray(data) ? data : [data]
  return Buffer.concat(parts.map(part => new Uint8Array(part)))
}
