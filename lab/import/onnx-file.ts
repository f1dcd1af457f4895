import { readFile } from 'node:fs/promises'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { InferenceSession } from 'onnxruntime-node'
import { withWeightsInside } from '../onnx/external-data.ts'
import { decodeModel, type OnnxModel } from '../onnx/schema.ts'
import type { ImportedNetwork, OpenShape } from './network.ts'

/** Reads an ONNX file. Throws `MODEL_UNREADABLE` or `MODEL_IMPORT_UNSUPPORTED`. */
export async function readOnnx(path: string): Promise<ImportedNetwork> {
  const file = await readFile(path).catch(cause => {
    throw toFaultlineError(cause, 'MODEL_UNREADABLE', path)
  })
  const model = parse(file, path)
  const scattered = model.graph?.initializer?.some(tensor => tensor.dataLocation === 1)
  const onnx = scattered ? await withWeightsInside(file, path) : file
  const session = await open(onnx, path, operatorSet(model))
  try {
    const input = onlyTensor(session.inputMetadata, 'input', path)
    const output = onlyTensor(session.outputMetadata, 'output', path)
    const [batch, ...extents] = input
    if (batch !== undefined && batch !== 1)
      throw unsupported(path, `it is made for batches of ${batch}; export it with a free batch, or a batch of 1`)
    const notes = batch === 1 ? ['It takes one input at a time; with a free batch a server would answer faster.'] : []
    return {
      origin: originOf(model),
      engine: 'onnx',
      networks: { onnx },
      input: extents,
      output: output.slice(1),
      notes,
    }
  } finally {
    await session.release()
  }
}

function parse(bytes: Uint8Array, path: string): OnnxModel {
  try {
    const model = decodeModel(bytes)
    if (model.graph?.node?.length) return model
  } catch {
    // Told below, as for a file that decodes to nothing.
  }
  throw new FaultlineError('MODEL_UNREADABLE', `${path} is no ONNX file`)
}

async function open(onnx: Uint8Array, path: string, opset: number | undefined): Promise<InferenceSession> {
  const ort = await import('onnxruntime-node').catch(cause => {
    throw toFaultlineError(cause, 'ENGINE_UNAVAILABLE', 'onnxruntime-node')
  })
  try {
    return await ort.InferenceSession.create(onnx, { executionProviders: ['cpu'], logSeverityLevel: 4 })
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause)
    const newest = /is till opset (\d+)/.exec(message)?.[1]
    if (newest)
      throw unsupported(
        path,
        `it uses operator set ${opset}, onnxruntime knows them to ${newest}; export it for an older one`,
      )
    throw unsupported(path, `onnxruntime does not load it: ${message.trim().split('\n')[0]}`)
  }
}

function onlyTensor(
  metadata: readonly InferenceSession.ValueMetadata[],
  what: 'input' | 'output',
  path: string,
): OpenShape {
  const [tensor] = metadata
  if (!tensor || metadata.length !== 1)
    throw unsupported(
      path,
      `it has ${metadata.length} ${what}s (${metadata.map(({ name }) => name).join(', ')}), not one`,
    )
  if (!tensor.isTensor) throw unsupported(path, `its ${what} "${tensor.name}" is no tensor`)
  if (tensor.type !== 'float32') throw unsupported(path, `its ${what} "${tensor.name}" is ${tensor.type}, not float32`)
  if (tensor.shape.length < 2)
    throw unsupported(path, `its ${what} "${tensor.name}" has no batch dimension before its values`)
  return tensor.shape.map(extent => (typeof extent === 'number' && extent > 0 ? extent : undefined))
}

function operatorSet({ opsetImport = [] }: OnnxModel): number | undefined {
  return opsetImport.find(({ domain }) => !domain || domain === 'ai.onnx')?.version
}

function originOf(model: OnnxModel): string {
  const producer = [model.producerName, model.producerVersion].filter(Boolean).join(' ')
  return `ONNX, operator set ${operatorSet(model)}${producer ? `, written by ${producer}` : ''}`
}

function unsupported(path: string, why: string): FaultlineError {
  return new FaultlineError('MODEL_IMPORT_UNSUPPORTED', `${path}: ${why}`)
}
