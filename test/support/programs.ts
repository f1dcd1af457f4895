import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Where a program is on the PATH (sbin included, where Debian puts servers), or undefined. */
export function findProgram(name: string): string | undefined {
  for (const directory of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']) {
    const path = join(directory, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not in this directory.
    }
  }
  return undefined
}

/** For a test's `skip`: false when every program is there, otherwise a sentence that names the missing one. */
export function missing(...names: string[]): false | string {
  const absent = names.find(name => !findProgram(name))
  return absent ? `${absent} is not installed` : false
}
