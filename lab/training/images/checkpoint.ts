import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import type { RandomState } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import type * as tf from '@tensorflow/tfjs'

/** A training run between two epochs. */
export interface Checkpoint {
  /** What the run was asked for; another plan cannot go on from here. */
  plan: string
  /** Epochs done. */
  epoch: number
  /** Spent on them, over all the processes that ran. */
  seconds: number
  random: RandomState
  /** Values of every variable, in order. */
  variables: Float32Array[]
}

/** Replaces the file as a whole, so that a run that is killed while it writes has the checkpoint before. */
export async function writeCheckpoint(path: string, checkpoint: Checkpoint): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(`${path}.tmp`, serialize(checkpoint))
  await rename(`${path}.tmp`, path)
}

/** Undefined where there is none. Throws `CONFIG_INVALID` for that of another plan or what is none. */
export async function readCheckpoint(path: string, plan: string): Promise<Checkpoint | undefined> {
  const bytes = await readFile(path).catch(() => undefined)
  if (!bytes) return undefined
  const stored = parsed(bytes)
  if (stored?.plan !== plan)
    throw new FaultlineError(
      'CONFIG_INVALID',
      `${path} is no checkpoint of this plan; delete it or name another directory`,
    )
  return stored
}

function parsed(bytes: Buffer): Checkpoint | undefined {
  try {
    return deserialize(bytes) as Checkpoint
  } catch {
    return undefined
  }
}

export function valuesOf(variables: readonly tf.Variable[]): Float32Array[] {
  return variables.map(variable => Float32Array.from(variable.dataSync()))
}
