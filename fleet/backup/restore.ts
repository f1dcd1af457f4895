import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { lstat, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { Decrypter } from 'age-encryption'
import { extract } from 'tar-stream'
import { type Manifest, manifestName, manifest as manifestSchema } from './manifest.ts'

export interface RestoreOptions {
  file: string
  /** Where everything goes; where it was if omitted. What was in the directory of the site lies in it directly. */
  directory?: string
  passphrase?: string
}

export interface Restored {
  manifest: Manifest
  /** Where each root of the backup is now. */
  places: { name: string; path: string }[]
}

/** What an archive holds, as it is read. */
type Entry = AsyncIterable<unknown> & { header: { name: string; size?: number | undefined } }

const maxManifestBytes = 64 * 1_048_576
const ageHeader = 'age-encryption.org/v1'

/**
 * Puts a backup where nothing is yet. Every file is written under another name and checked against the manifest; they get
 * their names once all are there. Throws `BACKUP_INVALID` for a file that is no backup, damaged, or sealed with another
 * passphrase, and `RESTORE_REFUSED` where something is in the way; either way nothing has been changed.
 */
export async function restore(options: RestoreOptions): Promise<Restored> {
  const entries = extract()
  const reading = pipeline(await plainOf(options), createGunzip(), entries)
  reading.catch(() => {}) // The loop below throws it.
  const written = new Map<string, string>()
  try {
    let found: Manifest | undefined
    let places: Restored['places'] = []
    for await (const entry of entries) {
      const { name } = entry.header
      if (!found) {
        found = await manifestIn(entry, options.file)
        places = await placesFor(found, options.directory)
      } else await unpack(entry, expected(found, name), targetOf(places, name), written)
    }
    await reading
    if (!found) throw invalid(`${options.file} is empty`)
    const missing = found.files.filter(({ path }) => !written.has(targetOf(places, path)))
    if (missing.length > 0) throw invalid(`${missing.length} files are missing, ${missing[0]!.path} among them`)
    for (const [target, draft] of written) await rename(draft, target)
    return { manifest: found, places }
  } catch (thrown) {
    entries.destroy()
    await Promise.all([...written.values()].map(draft => rm(draft, { force: true })))
    throw toFaultlineError(thrown, 'BACKUP_INVALID', options.file)
  }
}

/** The bytes of the tar.gz, whether or not they are sealed. */
async function plainOf({ file, passphrase }: RestoreOptions): Promise<Readable> {
  const head = await buffer(createReadStream(file, { end: ageHeader.length - 1 })).catch(cause => {
    throw invalid(`cannot read ${file}: ${(cause as Error).message}`)
  })
  if (head.toString('latin1') !== ageHeader) return createReadStream(file)
  if (passphrase === undefined) throw invalid(`${file} is encrypted; give its passphrase`)
  const decrypter = new Decrypter()
  decrypter.addPassphrase(passphrase)
  try {
    const sealed = Readable.toWeb(createReadStream(file)) as ReadableStream<Uint8Array>
    const plain = await decrypter.decrypt(sealed)
    return Readable.fromWeb(plain as Parameters<typeof Readable.fromWeb>[0])
  } catch (cause) {
    throw invalid(`${file} cannot be decrypted with this passphrase`, cause)
  }
}

async function manifestIn(entry: Entry, file: string): Promise<Manifest> {
  const { name, size = 0 } = entry.header
  if (name !== manifestName || size > maxManifestBytes) throw invalid(`${file} does not begin with a manifest`)
  try {
    return manifestSchema.parse(JSON.parse((await buffer(entry as AsyncIterable<Buffer>)).toString('utf8')))
  } catch (cause) {
    throw invalid(`the manifest of ${file} is not one of a version that this software reads`, cause)
  }
}

async function placesFor({ roots }: Manifest, directory: string | undefined): Promise<Restored['places']> {
  const places = roots.map(({ name, path }) => {
    if (directory === undefined) return { name, path }
    return { name, path: name === 'site' ? resolve(directory) : resolve(directory, name) }
  })
  for (const { path } of places) {
    const found = await lstat(path).catch(() => undefined)
    if (!found || (found.isDirectory() && (await readdir(path)).length === 0)) continue
    throw new FaultlineError(
      'RESTORE_REFUSED',
      `${path} is there already; move it away, or restore to another directory`,
    )
  }
  return places
}

function expected({ files }: Manifest, name: string): Manifest['files'][number] {
  const file = files.find(({ path }) => path === name)
  if (file) return file
  throw invalid(`"${name.slice(0, 200)}" is not in the manifest`)
}

function targetOf(places: Restored['places'], name: string): string {
  const place = places.find(root => name === root.name || name.startsWith(`${root.name}/`))
  if (!place) throw invalid(`"${name.slice(0, 200)}" belongs to nothing that was backed up`)
  return join(place.path, name.slice(place.name.length).replaceAll('/', sep))
}

async function unpack(entry: Entry, file: Manifest['files'][number], target: string, written: Map<string, string>) {
  const draft = `${target}.restoring`
  written.set(target, draft)
  await mkdir(dirname(target), { recursive: true, mode: 0o700 })
  const hash = createHash('sha256')
  const hashing = new Transform({
    transform(chunk, _, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })
  await pipeline(entry as AsyncIterable<Buffer>, hashing, createWriteStream(draft, { mode: file.mode, flags: 'w' }))
  if (hash.digest('hex') !== file.sha256) throw invalid(`${file.path} is damaged`)
}

const invalid = (message: string, cause?: unknown): FaultlineError =>
  new FaultlineError('BACKUP_INVALID', message, { cause })
