import { createHash } from 'node:crypto'
import { readFile, realpath } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { CalibrationModel } from '../calibration/calibration.ts'
import { checkFeatureNames } from '../signal/features.ts'
import { representationNames } from '../signal/representations.ts'
import type { Bundle } from './bundle.ts'
import { type BundleDescription, type BundleFile, bundleDescription } from './description.ts'
import { inputSize } from './input.ts'
import { checkSignature } from './signature.ts'

export const DESCRIPTION_FILE = 'bundle.json'

export interface LoadOptions {
  /** Public keys, as `bundle.sig` writes them. When given, the bundle must be signed with one of them. */
  trusted?: readonly string[]
}

/**
 * Reads a bundle and verifies the size and digest of every file it names, and its signature where a trust list is given.
 * Throws `BUNDLE_UNREADABLE`, `BUNDLE_INVALID` (naming the field), `BUNDLE_DIGEST_MISMATCH` or `FEATURE_UNKNOWN`; with a
 * trust list also `BUNDLE_UNSIGNED` or `BUNDLE_SIGNATURE_INVALID`.
 */
export async function loadBundle(directory: string, { trusted }: LoadOptions = {}): Promise<Bundle> {
  const bundle = await describeBundle(directory)
  if (trusted) await checkSignature(bundle, trusted)
  for (const file of filesOf(bundle.description)) await readBundleFile(bundle, file)
  return bundle
}

/**
 * Reads what a bundle says of itself, without looking at its files or its signature.
 * Throws `BUNDLE_UNREADABLE`, `BUNDLE_INVALID` (naming the field) or `FEATURE_UNKNOWN`.
 */
export async function describeBundle(directory: string): Promise<Bundle> {
  const path = join(directory, DESCRIPTION_FILE)
  const bytes = await readFile(path).catch(cause => {
    throw toFaultlineError(cause, 'BUNDLE_UNREADABLE', path)
  })
  return { directory, description: parseDescription(bytes, path), digest: digestOf(bytes) }
}

/**
 * The bytes of one file of a bundle, verified. Engines read through this, so that a file swapped after the bundle was
 * loaded is noticed. Throws `BUNDLE_UNREADABLE`, `BUNDLE_INVALID` or `BUNDLE_DIGEST_MISMATCH`.
 */
export async function readBundleFile({ directory }: Pick<Bundle, 'directory'>, file: BundleFile): Promise<Buffer> {
  const path = join(directory, file.path)
  let real: string
  let root: string
  let bytes: Buffer
  try {
    root = await realpath(directory)
    real = await realpath(path)
    bytes = await readFile(real)
  } catch (cause) {
    throw toFaultlineError(cause, 'BUNDLE_UNREADABLE', path)
  }
  // The schema refuses `..`; a symbolic link could still point outside.
  if (!real.startsWith(root + sep)) throw new FaultlineError('BUNDLE_INVALID', `${path} lies outside its bundle`)
  if (bytes.byteLength !== file.bytes)
    throw new FaultlineError(
      'BUNDLE_DIGEST_MISMATCH',
      `${path} has ${bytes.byteLength} bytes, the description says ${file.bytes}`,
    )
  if (digestOf(bytes) !== file.sha256)
    throw new FaultlineError('BUNDLE_DIGEST_MISMATCH', `${path} has another digest than the description says`)
  return bytes
}

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** Checks a description against the format and against itself. Throws `BUNDLE_INVALID` or `FEATURE_UNKNOWN`. */
export function checkDescription(value: unknown, path: string): BundleDescription {
  const parsed = bundleDescription.safeParse(value)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw invalid(path, issue?.path.join('.') || 'description', issue?.message ?? 'does not fit the format')
  }
  const { data } = parsed
  const { classes, input, golden, calibration } = data
  if (new Set(classes).size !== classes.length) throw invalid(path, 'classes', 'names a class twice')
  if (data.normal !== undefined && !classes.includes(data.normal))
    throw invalid(path, 'normal', `"${data.normal}" is none of the classes`)
  checkClasses(path, 'calibration.correctness', calibration.correctness, classes.length)
  checkClasses(path, 'calibration.server.agreement', calibration.server?.agreement, classes.length)
  if (!data.formats.onnx && !data.formats.tfjs) throw invalid(path, 'formats', 'the bundle holds no network')
  checkInput(input, path)
  checkRows(path, 'golden.inputs', golden.inputs, golden.inputs.length, inputSize(input))
  checkRows(path, 'golden.outputs', golden.outputs, golden.inputs.length, classes.length)
  return data
}

function checkClasses(path: string, field: string, fitted: CalibrationModel | undefined, count: number): void {
  if (fitted && fitted.classes !== count)
    throw invalid(path, `${field}.classes`, `is not ${count}, the number of classes`)
}

function checkInput(input: BundleDescription['input'], path: string): void {
  if (input.kind === 'signal') {
    if (!representationNames.includes(input.representation))
      throw invalid(path, 'input.representation', `there is no representation "${input.representation}"`)
    return
  }
  if (input.kind === 'features') {
    checkFeatureNames(input.features)
    const { length } = input.features
    if (input.mean.length !== length)
      throw invalid(path, 'input.mean', `has ${input.mean.length} values, not ${length}`)
    if (input.scale.length !== length)
      throw invalid(path, 'input.scale', `has ${input.scale.length} values, not ${length}`)
    return
  }
  const channels = input.layout === 'hwc' ? input.shape[2] : input.shape[0]
  if (input.mean.length !== channels)
    throw invalid(path, 'input.mean', `has ${input.mean.length} values, not ${channels}`)
  if (input.std.length !== channels) throw invalid(path, 'input.std', `has ${input.std.length} values, not ${channels}`)
}

function checkRows(path: string, field: string, rows: readonly number[][], count: number, width: number): void {
  if (rows.length !== count) throw invalid(path, field, `has ${rows.length} rows, not ${count}`)
  const wrong = rows.findIndex(row => row.length !== width)
  if (wrong >= 0) throw invalid(path, `${field}.${wrong}`, `has ${rows[wrong]!.length} values, not ${width}`)
}

function parseDescription(bytes: Buffer, path: string): BundleDescription {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw toFaultlineError(cause, 'BUNDLE_INVALID', path)
  }
  return checkDescription(value, path)
}

function filesOf({ formats }: BundleDescription): BundleFile[] {
  const files: BundleFile[] = []
  if (formats.onnx) files.push(formats.onnx)
  if (formats.tfjs) files.push(formats.tfjs.model, ...formats.tfjs.weights)
  return files
}

function invalid(path: string, field: string, problem: string): FaultlineError {
  return new FaultlineError('BUNDLE_INVALID', `${path}: ${field}: ${problem}`)
}
