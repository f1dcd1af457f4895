import { createReadStream } from 'node:fs'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { extract } from 'tar-stream'
import type { Disk } from './disk.ts'

/** An agent package unpacks to about 200 MB. */
const mostBytes = 1_073_741_824
const mostEntries = 20_000

/**
 * Unpacks a tar.gz of files and directories into a directory that is empty. Links, names that lead out of it, and more than a
 * device could hold are refused, as is what is no archive: `UPDATE_DAMAGED`.
 * @param strip Leading names to leave away.
 */
export async function unpack(archive: string, directory: string, disk: Disk, { strip = 0 } = {}): Promise<void> {
  const entries = extract()
  let bytes = 0
  let count = 0
  const reading = pipeline(createReadStream(archive), createGunzip(), entries)
  reading.catch(() => {}) // The loop below throws it.
  try {
    for await (const entry of entries) {
      const { name, type, size = 0, mode = 0 } = entry.header
      bytes += size
      count += 1
      if (bytes > mostBytes || count > mostEntries) throw damaged('unpacks to more than a device holds')
      const path = inside(name, strip)
      if (type === 'directory') {
        if (path) await disk.makeDirectory(join(directory, path))
        entry.resume()
      } else if (type === 'file' && path) {
        const target = join(directory, path)
        if (dirname(path) !== '.') await disk.makeDirectory(dirname(target))
        await disk.fill(target, entry as AsyncIterable<Uint8Array>, mode & 0o100 ? 0o700 : 0o600)
      } else throw damaged(`holds "${name.slice(0, 100)}", which is neither file nor directory`)
    }
    await reading
  } catch (thrown) {
    entries.destroy()
    throw toFaultlineError(thrown, 'UPDATE_DAMAGED', 'the archive')
  }
}

/** The path without its leading names; empty for a directory that is one of these. */
function inside(name: string, strip: number): string {
  const levels = name.replace(/\/$/, '').split('/')
  if (!levels.every(level => /^(?!\.\.?$)[A-Za-z0-9@._+-]+$/.test(level)))
    throw damaged(`holds the name "${name.slice(0, 100)}"`)
  return levels.slice(strip).join('/')
}

const damaged = (what: string): FaultlineError => new FaultlineError('UPDATE_DAMAGED', `the archive ${what}`)
