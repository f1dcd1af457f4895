import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TfjsArtifacts } from '@faultline/inference'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import * as tf from '@tensorflow/tfjs'
import { z } from 'zod'
import { exportOnnx } from '../onnx/export.ts'
import type { ImportedNetwork, OpenShape } from './network.ts'

/** The part of `model.json` that is looked at here; TF.js checks the rest. */
const modelJson = z.looseObject({
  format: z.enum(['layers-model', 'graph-model']).optional(),
  generatedBy: z.string().nullish(),
  signature: z.looseObject({}).optional(),
  modelTopology: z.looseObject({}),
  weightsManifest: z.array(z.object({ paths: z.array(z.string()), weights: z.array(z.looseObject({})) })),
})

/** Reads a TF.js layers or graph model. Throws `MODEL_UNREADABLE` or `MODEL_IMPORT_UNSUPPORTED`. */
export async function readTfjs(directory: string): Promise<ImportedNetwork> {
  const { artifacts, generatedBy } = await readArtifacts(directory)
  // TF.js suggests tfjs-node on standard output otherwise.
  tf.env().set('PROD', true)
  await tf.ready()
  const origin = `TF.js ${artifacts.format}${generatedBy ? `, from ${generatedBy}` : ''}`
  if (artifacts.format === 'graph-model') {
    const graph = await load(directory, () => tf.loadGraphModel(tf.io.fromMemory(ioArtifacts(artifacts))))
    const shapes = shapesOf(directory, graph.inputs, graph.outputs)
    graph.dispose()
    const notes = ['A graph model runs on the TF.js engines only; convert the original to ONNX for the fastest one.']
    return { origin, engine: 'tfjs-wasm', networks: { tfjs: artifacts }, ...shapes, notes }
  }
  const layers = await load(directory, () => tf.loadLayersModel(tf.io.fromMemory(ioArtifacts(artifacts))))
  try {
    const shapes = shapesOf(directory, layers.inputs, layers.outputs)
    const { onnx, note } = asOnnx(layers)
    return { origin, engine: 'tfjs-wasm', networks: { tfjs: artifacts, onnx }, ...shapes, notes: note ? [note] : [] }
  } finally {
    layers.dispose()
  }
}

/**
 * The layers model in a directory, such as a bundle's; the caller disposes of it.
 * Throws `MODEL_UNREADABLE`, or `MODEL_IMPORT_UNSUPPORTED` for a graph model too.
 */
export async function readLayers(directory: string): Promise<tf.LayersModel> {
  const { artifacts } = await readArtifacts(directory)
  if (artifacts.format === 'graph-model') throw unsupported(directory, 'it is a graph model and knows no layers')
  tf.env().set('PROD', true)
  await tf.ready()
  return load(directory, () => tf.loadLayersModel(tf.io.fromMemory(ioArtifacts(artifacts))))
}

type Artifacts = TfjsArtifacts & { format: 'layers-model' | 'graph-model' }

async function readArtifacts(directory: string): Promise<{ artifacts: Artifacts; generatedBy?: string | null }> {
  const path = join(directory, 'model.json')
  const read = (file: string) =>
    readFile(file).catch(cause => {
      throw toFaultlineError(cause, 'MODEL_UNREADABLE', file)
    })
  const text = (await read(path)).toString('utf8')
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw toFaultlineError(cause, 'MODEL_UNREADABLE', path)
  }
  const parsed = modelJson.safeParse(json)
  if (!parsed.success) {
    const field = parsed.error.issues[0]?.path.join('.') || 'content'
    throw new FaultlineError('MODEL_UNREADABLE', `${path} is no TF.js model: its ${field} is missing or wrong`)
  }
  const { format = 'layers-model', signature, modelTopology, weightsManifest, generatedBy } = parsed.data
  const shards: ArrayBuffer[] = []
  // A copy: a buffer read from a file may be a view into a larger one.
  for (const name of weightsManifest.flatMap(group => group.paths))
    shards.push(new Uint8Array(await read(join(directory, name))).buffer)
  const weightSpecs = weightsManifest.flatMap(group => group.weights)
  return { artifacts: { format, modelTopology, weightSpecs, weightData: shards, signature }, generatedBy }
}

/** TF.js' own name for what was read: it checks the parts when it loads them. */
function ioArtifacts(artifacts: Artifacts): tf.io.ModelArtifacts {
  return artifacts as tf.io.ModelArtifacts
}

async function load<T>(directory: string, loading: () => Promise<T>): Promise<T> {
  try {
    return await loading()
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause)
    throw unsupported(directory, `TF.js does not load it: ${message.trim().split('\n')[0]}`, cause)
  }
}

interface TensorInfo {
  name: string
  dtype?: string
  shape?: readonly (number | null)[]
}

function shapesOf(
  directory: string,
  inputs: readonly TensorInfo[],
  outputs: readonly TensorInfo[],
): { input: OpenShape; output: OpenShape } {
  const [batch, ...input] = onlyTensor(directory, inputs, 'input')
  if (batch !== undefined && batch !== 1)
    throw unsupported(directory, `it is made for batches of ${batch}; export it with a free batch, or a batch of 1`)
  return { input, output: onlyTensor(directory, outputs, 'output').slice(1) }
}

function onlyTensor(directory: string, tensors: readonly TensorInfo[], what: 'input' | 'output'): OpenShape {
  const [tensor] = tensors
  if (!tensor || tensors.length !== 1)
    throw unsupported(directory, `it has ${tensors.length} ${what}s (${tensors.map(t => t.name).join(', ')}), not one`)
  if (tensor.dtype !== undefined && tensor.dtype !== 'float32')
    throw unsupported(directory, `its ${what} "${tensor.name}" is ${tensor.dtype}, not float32`)
  // A graph model need not say what its output is; running it will.
  if (what === 'output' && !tensor.shape?.length) return [undefined, undefined]
  if (!tensor.shape || tensor.shape.length < 2)
    throw unsupported(directory, `its ${what} "${tensor.name}" has no batch dimension before its values`)
  return tensor.shape.map(extent => (extent !== null && extent > 0 ? extent : undefined))
}

/** The same network as ONNX, for the fastest engine; a layer without an ONNX form is no reason to refuse the model. */
function asOnnx(model: tf.LayersModel): { onnx?: Uint8Array; note?: string } {
  try {
    return { onnx: exportOnnx(model) }
  } catch (thrown) {
    const error = toFaultlineError(thrown)
    if (error.code !== 'MODEL_EXPORT_UNSUPPORTED') throw error
    return { note: `The bundle holds no ONNX form, so it runs on the TF.js engines only: ${error.message}.` }
  }
}

function unsupported(directory: string, why: string, cause?: unknown): FaultlineError {
  return new FaultlineError('MODEL_IMPORT_UNSUPPORTED', `${directory}: ${why}`, { cause })
}
