import { access, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import {
  type Bundle,
  type BundleDescription,
  Classifier,
  createEngine,
  loadBundle,
  type Network,
  signBundle,
  writeBundle,
} from '@faultline/inference'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { type Verification, verifyOnEngines } from '../verify.ts'
import { calibrate } from './calibrate.ts'
import type { Declaration } from './declaration.ts'
import { fitInput, fitOutput } from './fit.ts'
import { goldenInputs, goldenOf } from './golden.ts'
import { type ImportedNetwork, readNetwork } from './network.ts'

export interface ImportOptions {
  /** An `.onnx` file, or a TF.js model by its directory or its `model.json`. */
  model: string
  declaration: Declaration
  /** Directory of the new bundle. */
  out: string
  /** Replaces a bundle that is there already. */
  force?: boolean
  /** Labelled data the model was not trained on. */
  calibration?: string
  /** Bundle of the server model that a local model's windows will be escalated to; with `calibration`. */
  server?: string
  /** Private key in PEM to sign with. */
  key?: string
}

export interface Imported {
  bundle: Bundle
  verification: Verification
  /** What a person should know, one sentence each. */
  notes: readonly string[]
}

type Description = Omit<BundleDescription, 'formats'>

/**
 * Makes a bundle of somebody's model: reads its shapes, refuses what contradicts the declaration, computes golden outputs
 * with the engine of its format, calibrates on labelled data where given, checks every engine, and signs. The bundle
 * appears whole or not at all.
 * Throws `MODEL_UNREADABLE`, `MODEL_IMPORT_UNSUPPORTED`, `MODEL_MISMATCH`, `CONFIG_EXISTS`, `CONFIG_INVALID` and the coded
 * errors of bundles, engines and recordings.
 */
export async function importModel(options: ImportOptions): Promise<Imported> {
  const { model, declaration, out, calibration: data, server, key } = options
  if (server !== undefined && (data === undefined || declaration.role !== 'local'))
    throw new FaultlineError('CONFIG_INVALID', '--server goes with --role local and --calibrate')
  if (!options.force && (await exists(out)))
    throw new FaultlineError('CONFIG_EXISTS', `${out} is there already; --force replaces the bundle in it`)
  const network = await readNetwork(model)
  const input = fitInput(declaration.input, network.input)
  fitOutput(declaration.classes, network.output)
  const staging = await makeStaging(out)
  try {
    const described = { ...declaration, format: 1 as const, input }
    const inputs = goldenInputs(input)
    // Engines run what is in a bundle, so there is one before its answers are known.
    const blank = goldenOf(
      inputs,
      new Float32Array(inputs.length * declaration.classes.length),
      declaration.classes.length,
    )
    const draft: Description = {
      ...described,
      calibration: { temperature: 1 },
      golden: blank,
      training: provenance(model, network),
    }
    const running = await createEngine(network.engine).load(await writeBundle(staging, draft, network.networks))
    let final: Description
    try {
      const golden = goldenOf(inputs, await answers(running, inputs, draft), declaration.classes.length)
      const measured = data === undefined ? undefined : await calibrated(running, draft, data, server)
      final = {
        ...draft,
        golden,
        calibration: measured?.calibration ?? draft.calibration,
        training: provenance(model, network, measured && { ...measured, data: basename(resolve(data!)) }),
      }
    } finally {
      await running.dispose()
    }
    const verification = await verifyOnEngines(await writeBundle(staging, final, network.networks))
    if (key !== undefined) await signBundle(await loadBundle(staging), key)
    if (options.force) await rm(out, { recursive: true, force: true })
    await rename(staging, out)
    return { bundle: await loadBundle(out), verification, notes: network.notes }
  } finally {
    await rm(dirname(staging), { recursive: true, force: true })
  }
}

async function calibrated(network: Network, draft: Description, data: string, server: string | undefined) {
  const beside = server === undefined ? undefined : await Classifier.load(server)
  try {
    return await calibrate(network, draft, data, beside)
  } finally {
    await beside?.dispose()
  }
}

/** The network's answers to the golden inputs. Throws where they are not what was declared. */
async function answers(network: Network, inputs: number[][], { classes, output }: Description): Promise<Float32Array> {
  let outputs: Float32Array
  try {
    outputs = await network.run(Float32Array.from(inputs.flat()), inputs.length)
  } catch (thrown) {
    const message = toFaultlineError(thrown).message.trim().split('\n')[0]
    throw new FaultlineError(
      'MODEL_IMPORT_UNSUPPORTED',
      `the model fails on a batch of ${inputs.length}, perhaps because a batch of 1 is built into it: ${message}`,
      { cause: thrown },
    )
  }
  const width = outputs.length / inputs.length
  if (width !== classes.length)
    throw new FaultlineError(
      'MODEL_MISMATCH',
      `the model gives ${width} values, ${classes.length} classes were named (--classes)`,
    )
  if (!outputs.every(Number.isFinite))
    throw new FaultlineError('MODEL_MISMATCH', 'the model gives values that are not finite for ordinary inputs')
  const likely = inputs.every((_, row) => areProbabilities(outputs.subarray(row * width, (row + 1) * width)))
  if (output === 'probabilities' && !likely)
    throw new FaultlineError(
      'MODEL_MISMATCH',
      'the model gives no probabilities; if these are logits, say so with --logits',
    )
  if (output === 'logits' && likely)
    throw new FaultlineError('MODEL_MISMATCH', 'the model gives probabilities already; leave --logits away')
  return outputs
}

function areProbabilities(row: Float32Array): boolean {
  const sum = row.reduce((total, value) => total + value, 0)
  return row.every(value => value >= 0 && value <= 1) && Math.abs(sum - 1) < 1e-3
}

function provenance(
  model: string,
  { origin }: ImportedNetwork,
  measured?: { samples: number; data: string; metrics: BundleDescription['training']['metrics'] },
): BundleDescription['training'] {
  const calibrated = measured ? ` Calibrated on ${measured.samples} labelled examples of ${measured.data}.` : ''
  return {
    at: new Date().toISOString(),
    data: [],
    seed: 0,
    note: `Imported from ${basename(model)} (${origin}); how it was trained is not known here.${calibrated}`,
    split: { train: [], validation: [], test: [] },
    metrics: measured?.metrics ?? {},
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** In a directory beside the place where the bundle goes, so that it can be moved there in one step. */
async function makeStaging(out: string): Promise<string> {
  const parent = dirname(resolve(out))
  try {
    await mkdir(parent, { recursive: true })
    return join(await mkdtemp(join(parent, '.importing-')), 'bundle')
  } catch (cause) {
    throw toFaultlineError(cause, 'BUNDLE_UNREADABLE', parent)
  }
}
