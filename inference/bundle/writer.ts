import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { toFaultlineError } from '@faultline/protocol'
import type { Bundle } from './bundle.ts'
import type { BundleDescription, BundleFile } from './description.ts'
import { checkDescription, DESCRIPTION_FILE, digestOf, loadBundle } from './loader.ts'
import { SIGNATURE_FILE } from './signature.ts'

/** The part of a TF.js model's `ModelArtifacts` that a bundle keeps. */
export interface TfjsArtifacts {
  /** `layers-model` where absent, or `graph-model`. */
  format?: string
  modelTopology?: unknown
  weightSpecs?: unknown[]
  weightData?: ArrayBuffer | ArrayBuffer[]
  /** Names of a graph model's inputs and outputs. */
  signature?: unknown
}

/** The same network in one or more engine formats. */
export interface BundleNetworks {
  onnx?: Uint8Array
  tfjs?: TfjsArtifacts
}

/**
 * Writes a bundle: the networks under fixed names, then `bundle.json` with their sizes and digests, then reads it back.
 * A signature of what was there before goes. `bundle.json` is put in place last, so that a directory never holds a description of files not yet there.
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
      model: add('model.json', modelJson(networks.tfjs)),
      weights: [add('weights.bin', joined(networks.tfjs.weightData))],
    }
  return put(directory, { ...description, formats }, files)
}

/**
 * Gives a bundle another calibration; its networks stay as they are. A signature goes, since it was of what is no more.
 * Throws `BUNDLE_INVALID` or `BUNDLE_UNREADABLE`.
 */
export async function recalibrateBundle(
  { directory, description }: Bundle,
  calibration: BundleDescription['calibration'],
): Promise<Bundle> {
  return put(directory, { ...description, calibration }, new Map())
}

async function put(
  directory: string,
  description: BundleDescription,
  files: ReadonlyMap<string, Uint8Array>,
): Promise<Bundle> {
  const path = join(directory, DESCRIPTION_FILE)
  const checked = checkDescription(description, path)
  try {
    await mkdir(directory, { recursive: true })
    await rm(join(directory, SIGNATURE_FILE), { force: true })
    for (const [name, bytes] of files) await writeFile(join(directory, name), bytes)
    await writeFile(`${path}.tmp`, descriptionText(checked))
    await rename(`${path}.tmp`, path)
  } catch (cause) {
    throw toFaultlineError(cause, 'BUNDLE_UNREADABLE', directory)
  }
  return loadBundle(directory)
}

/** Golden inputs are thousands of numbers: a line for each row of them, not for each number. */
function descriptionText(description: BundleDescription): string {
  const json = JSON.stringify(description, null, 1)
  // A line break in JSON text is never part of a string.
  return `${json.replace(/\[\n[-\d.eE+,\s]+\]/g, row => row.replace(/\s+/g, ''))}\n`
}

/** `model.json` as TF.js itself writes it, so that any TF.js program can load it. */
function modelJson({ format = 'layers-model', modelTopology, weightSpecs = [], signature }: TfjsArtifacts): Uint8Array {
  const json = {
    format,
    modelTopology,
    signature,
    weightsManifest: [{ paths: ['weights.bin'], weights: weightSpecs }],
  }
  return new TextEncoder().encode(JSON.stringify(json))
}

function joined(data: ArrayBuffer | ArrayBuffer[] = []): Uint8Array {
  const parts = Array.isArray(data) ? data : [data]
  return Buffer.concat(parts.map(part => new Uint8Array(part)))
}
