import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { InferenceSession } from 'onnxruntime-node'
import type { Bundle } from '../bundle/bundle.ts'
import { inputShape } from '../bundle/input.ts'
import { readBundleFile } from '../bundle/loader.ts'
import type { Engine, Network } from './engine.ts'
import { GuardedNetwork, runOneByOne } from './guard.ts'

export interface OnnxOptions {
  /** Threads within one operator. One is right beside other work: small networks lose more to waking threads than they gain. */
  threads?: number
}

/**
 * ONNX on the native onnxruntime, CPU only. The network has one float32 input whose batch is free, or 1: then the windows
 * of a batch run one after the other.
 */
export class OnnxEngine implements Engine {
  readonly name = 'onnx'
  readonly #threads: number

  constructor({ threads = 1 }: OnnxOptions = {}) {
    this.#threads = threads
  }

  supports({ description }: Bundle): boolean {
    return description.formats.onnx !== undefined
  }

  async load(bundle: Bundle): Promise<Network> {
    const { formats, input } = bundle.description
    if (!formats.onnx) throw new FaultlineError('ENGINE_LOAD_FAILED', 'the bundle holds no ONNX file')
    const bytes = await readBundleFile(bundle, formats.onnx)
    return openOnnx(bytes, { shape: inputShape(input), threads: this.#threads, path: formats.onnx.path })
  }
}

export interface OnnxFile {
  /** Of one input, without the batch. */
  shape: readonly number[]
  threads?: number
  /** Names the file in errors. */
  path?: string
}

/** Opens an ONNX network that is in memory. Throws `ENGINE_UNAVAILABLE` or `ENGINE_LOAD_FAILED`. */
export async function openOnnx(bytes: Uint8Array, { shape, threads = 1, path }: OnnxFile): Promise<Network> {
  const ort = await import('onnxruntime-node').catch(cause => {
    throw toFaultlineError(cause, 'ENGINE_UNAVAILABLE', 'onnxruntime-node')
  })
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // Errors are thrown; warnings would go to the terminal past the log.
    logSeverityLevel: 3,
  }).catch(cause => {
    throw toFaultlineError(cause, 'ENGINE_LOAD_FAILED', path)
  })
  const size = shape.reduce((product, extent) => product * extent, 1)
  let oneByOne: boolean
  try {
    oneByOne = checkInput(session, size)
  } catch (error) {
    await session.release()
    throw error
  }
  const [inputName, outputName] = [session.inputNames[0]!, session.outputNames[0]!]
  const runBatch = async (inputs: Float32Array, batch: number) => {
    const feed = new ort.Tensor('float32', inputs, [batch, ...shape])
    const results = await session.run({ [inputName]: feed }, [outputName])
    return results[outputName]!.data as Float32Array
  }
  return GuardedNetwork.warm({
    engine: 'onnx',
    inputSize: size,
    run: oneByOne ? runOneByOne(runBatch, size) : runBatch,
    release: () => session.release(),
  })
}

/** True when the network takes one input at a time. Throws `ENGINE_LOAD_FAILED`. */
function checkInput({ inputMetadata, outputMetadata }: InferenceSession, size: number): boolean {
  const [input, ...more] = inputMetadata
  const output = outputMetadata[0]
  if (!input?.isTensor || input.type !== 'float32' || more.length > 0)
    throw new FaultlineError('ENGINE_LOAD_FAILED', 'the ONNX network does not have exactly one float32 input')
  if (!output?.isTensor || output.type !== 'float32')
    throw new FaultlineError('ENGINE_LOAD_FAILED', 'the first output of the ONNX network is no float32 tensor')
  const [batch, ...extents] = input.shape
  if (typeof batch === 'number' && batch !== 1)
    throw new FaultlineError(
      'ENGINE_LOAD_FAILED',
      `the ONNX network has a fixed batch of ${batch}; export it with a free one`,
    )
  const known = extents.every(extent => typeof extent === 'number')
  const product = extents.reduce<number>((total, extent) => total * Number(extent), 1)
  if (known && product !== size)
    throw new FaultlineError('ENGINE_LOAD_FAILED', `the ONNX network takes ${product} values, the bundle says ${size}`)
  return batch === 1
}
