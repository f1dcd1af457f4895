import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FaultlineError } from '@faultline/protocol'
import { toDatabaseError } from '@faultline/runtime'
import { fileOf } from './spool/storage.ts'

/** A directory that takes less than this takes no database either. */
const probeBytes = 4_096

/** Why nothing can be written into the agent's directory, with what mends it; undefined where something can. */
export function unwritable(directory: string): FaultlineError | undefined {
  const probe = join(directory, '.probe')
  try {
    mkdirSync(directory, { recursive: true })
    writeFileSync(probe, Buffer.alloc(probeBytes))
    return undefined
  } catch (thrown) {
    return toDatabaseError(thrown, fileOf(directory))
  } finally {
    forget(probe)
  }
}

function forget(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // On a disk that does not write, it is not there.
  }
}
