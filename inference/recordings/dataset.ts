import { readdir } from 'node:fs/promises'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { isCwruMat, openCwruMat } from './cwru-mat.ts'
import { manifestNames, openManifest } from './manifest.ts'
import { openParquetSet, parquetTable } from './parquet-set.ts'
import type { Dataset } from './recording.ts'

/**
 * Opens a directory of recordings: with a manifest, as the Python package `bearing-datasets` builds them, or with
 * original CWRU `.mat` files.
 * Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
 */
export async function openDataset(directory: string): Promise<Dataset> {
  let names: string[]
  try {
    names = await readdir(directory)
  } catch (cause) {
    throw toFaultlineError(cause, 'RECORDING_UNREADABLE', directory)
  }
  if (names.includes(parquetTable)) return openParquetSet(directory)
  const manifest = manifestNames.find(name => names.includes(name))
  if (manifest) return openManifest(directory, manifest)
  if (names.some(isCwruMat)) return openCwruMat(directory)
  throw new FaultlineError(
    'RECORDING_UNREADABLE',
    `${directory} has no manifest.json: "npm run faultline -- data describe ${directory}" writes one`,
  )
}
