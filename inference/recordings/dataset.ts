import { readdir } from 'node:fs/promises'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { openCwruMat } from './cwru-mat.ts'
import { openManifest } from './manifest.ts'
import type { Dataset } from './recording.ts'

/**
 * Opens a directory of recordings: `manifest.json` with float32 files, or original CWRU `.mat` files.
 * Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
 */
export async function openDataset(directory: string): Promise<Dataset> {
  let names: string[]
  try {
    names = await readdir(directory)
  } catch (cause) {
    throw toFaultlineError(cause, 'RECORDING_UNREADABLE', directory)
  }
  if (names.includes('manifest.json')) return openManifest(directory)
  if (names.some(name => name.endsWith('.mat'))) return openCwruMat(directory)
  throw new FaultlineError('RECORDING_UNREADABLE', `${directory} has neither manifest.json nor .mat files`)
}
