import { open, writeFile } from 'node:fs/promises'
import { FaultlineError } from '@faultline/protocol'

/** Makes sure, before the work, that its result can be written. Throws `OUTPUT_UNWRITABLE`. */
export async function checkOutput(file: string | undefined): Promise<void> {
  if (file === undefined) return
  try {
    await (await open(file, 'a')).close()
  } catch (cause) {
    throw unwritable(file, cause)
  }
}

/** Writes a result where one was asked for. Throws `OUTPUT_UNWRITABLE`. */
export async function writeText(file: string | undefined, text: () => string): Promise<void> {
  if (file === undefined) return
  try {
    await writeFile(file, text())
  } catch (cause) {
    throw unwritable(file, cause)
  }
}

/** As `writeText`, as JSON for a person to read. */
export const writeJson = (file: string | undefined, value: unknown): Promise<void> =>
  writeText(file, () => `${JSON.stringify(value, null, 2)}\n`)

const unwritable = (file: string, cause: unknown): FaultlineError =>
  new FaultlineError('OUTPUT_UNWRITABLE', `cannot write ${file}: ${(cause as Error).message}`, { cause })
