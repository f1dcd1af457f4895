import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { FaultlineError } from '@faultline/protocol'
import { version } from '@faultline/runtime'
import { Encrypter } from 'age-encryption'
import { type Pack, pack } from 'tar-stream'
import { formatVersion, type Manifest, manifestName } from './manifest.ts'
import type { Root } from './site.ts'
import { takeSnapshot } from './snapshot.ts'

export interface BackupOptions {
  roots: readonly Root[]
  /** The file to write, which must not be there. */
  output: string
  /** Encrypts the file in the age format (https://age-encryption.org/v1) if given. */
  passphrase?: string
}

/**
 * Writes what a site owns into one file, a gzipped tar whose first entry is its manifest, while the programs run. It needs
 * room for two copies beside the output. The file is whole or not there, and for its owner alone.
 * Throws `OUTPUT_UNWRITABLE`, `DATABASE_FAILED`, and `CONFIG_INVALID` where there is nothing to back up.
 */
export async function backUp({ roots, output, passphrase }: BackupOptions): Promise<Manifest> {
  const draft = `${output}.${process.pid}.part`
  const directory = await workspaceBeside(output)
  try {
    const files = await takeSnapshot(roots, directory)
    if (files.length === 0) {
      const paths = roots.map(({ path }) => path).join(', ')
      throw new FaultlineError('CONFIG_INVALID', `nothing to back up: no files in ${paths}`)
    }
    const manifest: Manifest = {
      format: formatVersion,
      version,
      at: new Date().toISOString(),
      roots: [...roots],
      files,
    }
    await writeArchive(manifest, directory, draft, passphrase)
    await rename(draft, output)
    return manifest
  } finally {
    await rm(draft, { force: true })
    await rm(directory, { recursive: true, force: true })
  }
}

async function workspaceBeside(output: string): Promise<string> {
  if (await stat(output).catch(() => undefined))
    throw new FaultlineError('OUTPUT_UNWRITABLE', `${output} is there already; give the backup another name`)
  try {
    await mkdir(dirname(output), { recursive: true })
    return await mkdtemp(join(dirname(output), `.${basename(output)}-`))
  } catch (cause) {
    throw new FaultlineError('OUTPUT_UNWRITABLE', `cannot write ${output}: ${(cause as Error).message}`, { cause })
  }
}

async function writeArchive(manifest: Manifest, directory: string, file: string, passphrase?: string): Promise<void> {
  const tar = pack()
  const filling = fill(tar, manifest, directory)
  const output = createWriteStream(file, { mode: 0o600, flags: 'wx' })
  const writing =
    passphrase === undefined
      ? pipeline(tar, createGzip(), output)
      : pipeline(tar, createGzip(), encryption(passphrase), output)
  await Promise.all([writing, filling])
}

async function fill(tar: Pack, manifest: Manifest, directory: string): Promise<void> {
  try {
    tar.entry({ name: manifestName, mode: 0o600 }, JSON.stringify(manifest, null, 2))
    for (const { path, bytes: size, mode } of manifest.files) {
      await pipeline(
        createReadStream(join(directory, path)),
        tar.entry({ name: path, size, mode }) as unknown as Writable,
      )
    }
    tar.finalize()
  } catch (thrown) {
    tar.destroy(thrown as Error)
    throw thrown
  }
}

const encryption = (passphrase: string) =>
  async function* encrypt(plain: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const encrypter = new Encrypter()
    encrypter.setPassphrase(passphrase)
    const sealed = await encrypter.encrypt(Readable.toWeb(Readable.from(plain)) as ReadableStream<Uint8Array>)
    yield* sealed as unknown as AsyncIterable<Uint8Array>
  }
