import { chmodSync, closeSync, mkdirSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'

/**
 * Writes a new file, by default one that only its owner can read, with what `content` gives. The file is taken first:
 * what `content` does, enrolment, is not done for nothing when the file cannot be written. Throws `CONFIG_EXISTS`,
 * `CONFIG_UNREADABLE`.
 */
export async function writeNewFile(file: string, content: () => Promise<string | Buffer>, mode = 0o600): Promise<void> {
  const descriptor = take(file, mode)
  try {
    chmodSync(file, mode) // Whatever the umask took away.
    writeAll(descriptor, Buffer.from(await content()))
  } catch (error) {
    unlinkSync(file)
    throw error
  } finally {
    closeSync(descriptor)
  }
}

/** Puts a file in the place of the one there may be, at once. Throws `CONFIG_UNREADABLE`. */
export async function replaceFile(file: string, content: string, mode: number): Promise<void> {
  const draft = `${file}.${process.pid}.part`
  await writeNewFile(draft, async () => content, mode)
  renameSync(draft, file)
}

function writeAll(descriptor: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.byteLength; ) at += writeSync(descriptor, bytes, at)
}

function take(file: string, mode: number): number {
  try {
    mkdirSync(dirname(file), { recursive: true })
    return openSync(file, 'wx', mode)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new FaultlineError('CONFIG_EXISTS', `${file} is there already; nothing was changed`, { cause })
    }
    throw toFaultlineError(cause, 'CONFIG_UNREADABLE')
  }
}
