import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type * as Tfjs from '@tensorflow/tfjs'
import type { Bundle } from '../bundle/bundle.ts'
import { inputShape, inputSize } from '../bundle/input.ts'
import { readBundleFile } from '../bundle/loader.ts'
import type { EngineName, Network } from './engine.ts'
import { GuardedNetwork, runOneByOne } from './guard.ts'

/** One way of running TF.js. */
export interface TfjsBackend {
  engine: EngineName
  /** The name TF.js knows the backend by. */
  backend: string
  /** Imports and registers the backend. */
  register(): Promise<void>
}

/**
 * TF.js has one current backend per process. Changing to one that is initialised already takes effect at once, so a run
 * changes to its own, computes and changes back within one turn of the event loop: networks on different backends,
 * and training code on a third, never see each other. Only initialising a backend spans turns; it is done one at
 * a time, and runs wait for it.
 */
let initialising: Promise<unknown> | undefined

async function exclusively<T>(initialise: () => Promise<T>): Promise<T> {
  while (initialising) await initialising
  const work = initialise()
  const settled = work.then(
    () => undefined,
    () => undefined,
  )
  initialising = settled.then(() => {
    initialising = undefined
  })
  return work
}

async function whenInitialised(): Promise<void> {
  while (initialising) await initialising
}

/** The promise says nothing about a backend that is initialised: it is set at once. */
const ignore = (): void => {}

/** Runs `compute`, which must be synchronous, on a backend that is initialised. */
function onBackend<T>(tf: typeof Tfjs, backend: string, compute: () => T): T {
  const previous = tf.getBackend()
  if (previous === backend) return compute()
  tf.setBackend(backend).catch(ignore)
  try {
    return compute()
  } finally {
    tf.setBackend(previous).catch(ignore)
  }
}

/** Loads a bundle's TF.js layers or graph model. Throws `ENGINE_UNAVAILABLE` or `ENGINE_LOAD_FAILED`. */
export async function loadTfjs(bundle: Bundle, { engine, backend, register }: TfjsBackend): Promise<Network> {
  const artifacts = await readArtifacts(bundle)
  const tf = await import('@tensorflow/tfjs').catch(cause => {
    throw toFaultlineError(cause, 'ENGINE_UNAVAILABLE', '@tensorflow/tfjs')
  })
  const model = await exclusively(async () => {
    const previous = tf.getBackend()
    try {
      await initialise(tf, backend, register)
      return await loadModel(tf, artifacts)
    } catch (cause) {
      throw toFaultlineError(cause, 'ENGINE_LOAD_FAILED', engine)
    } finally {
      if (previous && previous !== tf.getBackend()) await tf.setBackend(previous)
    }
  })
  const size = inputSize(bundle.description.input)
  const [batchExtent, ...extents] = (model.inputs[0]?.shape ?? []).map(Number)
  // An open extent is null in a layers model and -1 in a graph model.
  const shape = extents.every(extent => extent > 0) ? extents : inputShape(bundle.description.input)
  if (model.inputs.length !== 1 || shape.reduce((product, extent) => product * extent, 1) !== size) {
    model.dispose()
    throw new FaultlineError('ENGINE_LOAD_FAILED', `the TF.js network takes [${shape}], the bundle says ${size} values`)
  }
  const run = async (inputs: Float32Array, batch: number) => {
    await whenInitialised()
    return onBackend(tf, backend, () =>
      tf.tidy(() => {
        const output = model.run(tf.tensor(inputs, [batch, ...shape], 'float32'))
        if (!(output instanceof tf.Tensor))
          throw new FaultlineError('ENGINE_LOAD_FAILED', 'the network does not have exactly one output')
        return Float32Array.from(output.dataSync())
      }),
    )
  }
  return GuardedNetwork.warm({
    engine,
    inputSize: size,
    run: batchExtent === 1 ? runOneByOne(run, size) : run,
    release: async () => {
      await whenInitialised()
      onBackend(tf, backend, () => model.dispose())
    },
  })
}

/** What both kinds of model have in common. */
interface TfjsModel {
  inputs: readonly { shape?: readonly (number | null)[] }[]
  run(input: Tfjs.Tensor): unknown
  dispose(): void
}

async function loadModel(tf: typeof Tfjs, artifacts: Tfjs.io.ModelArtifacts): Promise<TfjsModel> {
  if (artifacts.format === 'graph-model') {
    const model = await tf.loadGraphModel(tf.io.fromMemory(artifacts))
    return { inputs: model.inputs, run: input => model.predict(input), dispose: () => model.dispose() }
  }
  const model = await tf.loadLayersModel(tf.io.fromMemory(artifacts))
  return {
    inputs: model.inputs,
    // `predict` would split and join batches again, at a third of a small network's time.
    run: input => model.apply(input, { training: false }),
    dispose: () => model.dispose(),
  }
}

async function initialise(tf: typeof Tfjs, backend: string, register: () => Promise<void>): Promise<void> {
  try {
    await register()
    if (await tf.setBackend(backend)) return
  } catch (cause) {
    throw toFaultlineError(cause, 'ENGINE_UNAVAILABLE', `TF.js backend ${backend}`)
  }
  throw new FaultlineError('ENGINE_UNAVAILABLE', `TF.js backend ${backend} did not initialise`)
}

/** The parts of `model.json` that are looked at here; TF.js checks the rest. */
interface ModelJson {
  format?: string
  signature?: object
  modelTopology?: object
  weightsManifest?: { weights: Tfjs.io.WeightsManifestEntry[] }[]
}

async function readArtifacts(bundle: Bundle): Promise<Tfjs.io.ModelArtifacts> {
  const { tfjs } = bundle.description.formats
  if (!tfjs) throw new FaultlineError('ENGINE_LOAD_FAILED', 'the bundle holds no TF.js model')
  const bytes = await readBundleFile(bundle, tfjs.model)
  const shards: Buffer[] = []
  for (const file of tfjs.weights) shards.push(await readBundleFile(bundle, file))
  try {
    const json = JSON.parse(bytes.toString('utf8')) as ModelJson
    // A copy: a buffer read from a file may be a view into a larger one.
    const weights = new Uint8Array(Buffer.concat(shards))
    return {
      format: json.format,
      signature: json.signature,
      modelTopology: json.modelTopology,
      weightSpecs: (json.weightsManifest ?? []).flatMap(group => group.weights),
      weightData: weights.buffer,
    }
  } catch (cause) {
    throw toFaultlineError(cause, 'ENGINE_LOAD_FAILED', tfjs.model.path)
  }
}
