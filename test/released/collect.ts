import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { gunzipSync, gzipSync } from 'node:zlib'
import { placeholder } from './format.ts'

/** Larger files, and those that are no text, are compressed. */
const maxPlainBytes = 20_000

/** What a site has, but what its programs make anew and what repeats. */
const leftOut = /^node-red\/(faultline-nodes|node_modules|lib)\/|\.config\.nodes\.json|-(wal|shm)$|\.lock$/

/** Puts what a site left into a directory, each path of its own as a placeholder, and the smallest bundle there is. */
export async function collect(code: string, directory: string, target: string): Promise<void> {
  for (const path of await filesIn(directory)) {
    if (path.endsWith('.db')) settle(join(directory, path))
    if (!leftOut.test(path)) await keep(directory, path, target)
  }
  const bundle = join(code, 'test/inference/fixtures/tiny-signal')
  for (const path of await filesIn(bundle)) await keep(bundle, path, join(target, 'bundle'))
}

/** Writes the files of a set into a directory, as they were. */
export async function unpack(source: string, directory: string): Promise<void> {
  for (const path of await filesIn(source)) {
    const to = join(directory, path.replace(/\.gz$/, ''))
    await mkdir(dirname(to), { recursive: true, mode: 0o700 })
    const bytes = await readFile(join(source, path))
    if (path.endsWith('.gz')) await writeFile(to, gunzipSync(bytes), { mode: 0o600 })
    else if (path.endsWith('.yaml'))
      await writeFile(to, bytes.toString().replaceAll(placeholder, directory), { mode: 0o600 })
    else await copyFile(join(source, path), to)
  }
}

async function keep(directory: string, path: string, target: string): Promise<void> {
  const bytes = await readFile(join(directory, path))
  const to = join(target, path)
  await mkdir(dirname(to), { recursive: true })
  const isText = bytes.equals(Buffer.from(bytes.toString()))
  if (!isText || bytes.length > maxPlainBytes) await writeFile(`${to}.gz`, gzipSync(bytes, { level: 9 }))
  else await writeFile(to, bytes.toString().replaceAll(directory, placeholder))
}

/** Puts the log of a database into it, and gives up the pages that it does not use. */
function settle(path: string): void {
  const database = new DatabaseSync(path)
  database.exec('PRAGMA wal_checkpoint(TRUNCATE); VACUUM; PRAGMA wal_checkpoint(TRUNCATE)')
  database.close()
}

async function filesIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return entries
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort()
}
