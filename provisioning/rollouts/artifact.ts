import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { copyFile, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import {
  FaultlineError,
  publicKeyText,
  signatureText,
  signDigest,
  type UpdateOffer,
  verifyDigest,
} from '@faultline/protocol'
import { pack } from 'tar-stream'
import { z } from 'zod'

/** What is rolled out, but for the terms of a rollout. */
export type Artifact =
  | Omit<Extract<UpdateOffer, { kind: 'bundle' }>, 'id' | 'probation'>
  | Omit<Extract<UpdateOffer, { kind: 'agent' }>, 'id' | 'probation'>

const file = z.object({
  path: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._/-]*$/)
    .refine(path => !path.split('/').includes('..')),
  sha256: z.string(),
})

/** The part of `bundle.json` that matters here; a device checks all of it. */
const description = z.object({
  name: z.string(),
  version: z.string(),
  task: z.string(),
  role: z.string(),
  formats: z.object({
    onnx: file.optional(),
    tfjs: z.object({ model: file, weights: z.array(file) }).optional(),
  }),
})

const signatureFile = z.object({ publicKey: publicKeyText, signature: signatureText })

/**
 * Packs a signed bundle of a local model as the tar.gz that devices fetch, and puts it into a directory under its digest: a
 * rollout goes on with the same bytes whatever becomes of the bundle. Throws `ROLLOUT_INVALID` for a bundle that no device
 * would take.
 */
export async function packBundle(bundle: string, directory: string): Promise<Artifact> {
  const json = await read(bundle, 'bundle.json')
  const digest = digestOf(json)
  const { name, version, task, role, formats } = parse(description, json, join(bundle, 'bundle.json'))
  if (role !== 'local') throw invalid(`${bundle} holds a ${role} model; devices run local ones`)
  const signed = parse(signatureFile, await signatureOf(bundle), join(bundle, 'bundle.sig'))
  if (!verifyDigest('bundle', digest, signed))
    throw invalid(`${bundle}: bundle.sig is not the signature of this bundle`)
  const tar = pack()
  // The same bundle gives the same bytes: no times, and always this order.
  const add = (path: string, content: Buffer) => tar.entry({ name: path, mode: 0o644, mtime: new Date(0) }, content)
  add('bundle.json', json)
  add('bundle.sig', await read(bundle, 'bundle.sig'))
  for (const { path, sha256 } of filesOf(formats)) {
    const content = await read(bundle, path)
    if (digestOf(content) !== sha256) throw invalid(`${join(bundle, path)} is not the file that bundle.json names`)
    add(path, content)
  }
  tar.finalize()
  const bytes = await buffer(tar.pipe(createGzip()))
  const archive = { bytes: bytes.byteLength, sha256: digestOf(bytes) }
  await put(archivePath(directory, archive.sha256), bytes)
  const { publicKey, signature } = signed
  return { kind: 'bundle', name, version, digest, archive, signature: { publicKey, signature }, task }
}

/** What lies beside an agent package that is to be rolled out, in `FILE.sig`. */
const packageSignature = signatureFile.extend({ version: z.string(), architecture: z.enum(['arm64', 'x64']) })

/** Signs a package: writes `FILE.sig` and returns its path. Throws `CONFIG_INVALID` for a key that is none. */
export async function signPackage(
  file: string,
  about: { version: string; architecture: 'arm64' | 'x64' },
  privateKey: string,
): Promise<string> {
  const { publicKey, signature } = signDigest('agent', await digestOfFile(file), privateKey)
  const path = `${file}.sig`
  await writeFile(path, `${JSON.stringify({ ...about, publicKey, signature }, null, 1)}\n`, { mode: 0o644 })
  return path
}

/** Takes a signed agent package into a directory, under its digest. Throws `ROLLOUT_INVALID`. */
export async function takePackage(file: string, directory: string): Promise<Artifact> {
  const text = await readFile(`${file}.sig`).catch(() => {
    throw invalid(`there is no ${file}.sig: npm run provision -- agent-package --key FILE writes package and signature`)
  })
  const { version, architecture, publicKey, signature } = parse(packageSignature, text, `${file}.sig`)
  const digest = await digestOfFile(file)
  if (!verifyDigest('agent', digest, { publicKey, signature }))
    throw invalid(`${file}.sig is not the signature of this package`)
  const path = archivePath(directory, digest)
  await copyFile(file, `${path}.${process.pid}.part`)
  await rename(`${path}.${process.pid}.part`, path)
  const archive = { bytes: (await stat(path)).size, sha256: digest }
  return {
    kind: 'agent',
    name: 'faultline-agent',
    version,
    digest,
    archive,
    signature: { publicKey, signature },
    architecture,
  }
}

export async function digestOfFile(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash).catch(cause => {
    throw invalid(`${file} cannot be read: ${(cause as Error).message}`)
  })
  return `sha256:${hash.digest('hex')}`
}

/** Where the archive of an artifact lies. */
export const archivePath = (directory: string, sha256: string): string =>
  join(directory, `${sha256.slice('sha256:'.length)}.tar.gz`)

/** A file that is whole or not there. */
async function put(path: string, bytes: Buffer): Promise<void> {
  await writeFile(`${path}.${process.pid}.part`, bytes, { mode: 0o600 })
  await rename(`${path}.${process.pid}.part`, path)
}

const filesOf = ({ onnx, tfjs }: z.infer<typeof description>['formats']) => [
  ...(onnx ? [onnx] : []),
  ...(tfjs ? [tfjs.model, ...tfjs.weights] : []),
]

const read = (directory: string, name: string): Promise<Buffer> =>
  readFile(join(directory, name)).catch(cause => {
    throw invalid(`${directory} is no bundle: ${(cause as Error).message}`)
  })

const signatureOf = (bundle: string): Promise<Buffer> =>
  read(bundle, 'bundle.sig').catch(() => {
    throw invalid(
      `${bundle} is not signed, and devices take nothing unsigned: npm run models -- sign ${bundle} --key FILE`,
    )
  })

function parse<T>(schema: z.ZodType<T>, bytes: Buffer, path: string): T {
  try {
    return schema.parse(JSON.parse(bytes.toString('utf8')))
  } catch {
    throw invalid(`${path} is not what its format says`)
  }
}

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

const invalid = (message: string): FaultlineError => new FaultlineError('ROLLOUT_INVALID', message)
