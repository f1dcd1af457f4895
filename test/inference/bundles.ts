import { existsSync, readdirSync } from 'node:fs'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { EngineName } from '@faultline/inference'
import { type ErrorCode, FaultlineError } from '@faultline/protocol'
import { digestOf } from '../../inference/bundle/loader.ts'
import { temporaryDirectory } from '../support/temp.ts'

/** Helpers of the tests that read bundles. */
export const fixture = (name: 'tiny-features' | 'tiny-signal') => join(import.meta.dirname, 'fixtures', name)

const models = join(import.meta.dirname, '../../models')
/** Directories of the shipped bundles. */
export const shippedBundles = readdirSync(models, { withFileTypes: true })
  .filter(entry => entry.isDirectory() && existsSync(join(models, entry.name, 'bundle.json')))
  .map(entry => join(models, entry.name))

/** For a test's `skip`: false when the engine's package is there, otherwise a sentence that names it. */
export function missingEngine(engine: EngineName): false | string {
  if (engine !== 'tfjs-node') return false
  const inference = createRequire(join(import.meta.dirname, '../../inference/index.ts'))
  try {
    inference.resolve('@tensorflow/tfjs-node')
    return false
  } catch {
    return '@tensorflow/tfjs-node is not installed'
  }
}

export const withCode =
  (code: ErrorCode, words = /(?:)/) =>
  (error: unknown) =>
    error instanceof FaultlineError && error.code === code && words.test(error.message)

/** A copy of a fixture in a directory that goes when the test ends. */
export async function copyOf(t: Parameters<typeof temporaryDirectory>[0], name: 'tiny-features' | 'tiny-signal') {
  const directory = join(await temporaryDirectory(t), name)
  await cp(fixture(name), directory, { recursive: true })
  return directory
}

/** The parts of a `bundle.json` that tests spoil, before anything has checked them. */
export interface Spoilt {
  version: string
  bearing: unknown
  input: { features: string[]; representation: string; shape: number[] }
  calibration: { temperature: number }
  golden: { inputs: number[][]; outputs: number[][] }
  formats: { onnx?: SpoiltFile; tfjs?: { model: SpoiltFile } }
}
interface SpoiltFile {
  path: string
  sha256: string
  bytes: number
}

export async function editDescription(directory: string, edit: (description: Spoilt) => void): Promise<void> {
  const path = join(directory, 'bundle.json')
  const description = JSON.parse(await readFile(path, 'utf8')) as Spoilt
  edit(description)
  await writeFile(path, JSON.stringify(description))
}

/** Replaces a file of a bundle and brings size and digest in its description up to date. */
export async function replaceFile(directory: string, format: 'onnx' | 'model', bytes: Uint8Array): Promise<void> {
  await editDescription(directory, ({ formats }) => {
    const file = format === 'onnx' ? formats.onnx! : formats.tfjs!.model
    file.sha256 = digestOf(bytes)
    file.bytes = bytes.byteLength
  })
  await writeFile(join(directory, format === 'onnx' ? 'network.onnx' : 'model.json'), bytes)
}
