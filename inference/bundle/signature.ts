import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  bundleSignature,
  FaultlineError,
  publicKeyText,
  type Signer,
  signatureText,
  signerOf,
  toFaultlineError,
  verifyDigest,
} from '@faultline/protocol'
import { z } from 'zod'
import type { Bundle } from './bundle.ts'

export const SIGNATURE_FILE = 'bundle.sig'

/** `bundle.sig`. It signs the digest of `bundle.json`, which names the digest of every other file. */
const signatureFile = z.strictObject({
  algorithm: z.literal('ed25519'),
  keyId: z.string().regex(/^[0-9a-f]{16}$/),
  publicKey: publicKeyText,
  signature: signatureText,
})

/**
 * Writes `bundle.sig` beside a bundle's description. `privateKey` is PKCS #8 in PEM.
 * Throws `CONFIG_INVALID` for a key that is no Ed25519 key, and `BUNDLE_UNREADABLE`.
 */
export async function signBundle({ directory, digest }: Bundle, privateKey: string): Promise<Signer> {
  const { signer, text } = bundleSignature(digest, privateKey)
  const path = join(directory, SIGNATURE_FILE)
  try {
    await writeFile(`${path}.tmp`, text)
    await rename(`${path}.tmp`, path)
  } catch (cause) {
    throw toFaultlineError(cause, 'BUNDLE_UNREADABLE', path)
  }
  return signer
}

/**
 * Who signed a bundle; undefined when nobody did. The signature is checked, the signer is not: anybody can sign with a
 * key of their own. Throws `BUNDLE_SIGNATURE_INVALID` or `BUNDLE_UNREADABLE`.
 */
export async function readSignature({
  directory,
  digest,
}: Pick<Bundle, 'directory' | 'digest'>): Promise<Signer | undefined> {
  const path = join(directory, SIGNATURE_FILE)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw toFaultlineError(cause, 'BUNDLE_UNREADABLE', path)
  }
  const signed = parseSignature(text, path)
  let signer: Signer | undefined
  try {
    signer = verifyDigest('bundle', digest, signed)
  } catch (cause) {
    throw new FaultlineError('BUNDLE_SIGNATURE_INVALID', `${path}: ${(cause as Error).message}`, { cause })
  }
  if (!signer || signed.keyId !== signer.keyId)
    throw new FaultlineError(
      'BUNDLE_SIGNATURE_INVALID',
      `${path} is not the signature of this bundle by key ${signerOf(signed.publicKey).keyId}`,
    )
  return signer
}

/** Throws `BUNDLE_UNSIGNED` or `BUNDLE_SIGNATURE_INVALID` unless one of the trusted keys signed the bundle. */
export async function checkSignature(
  bundle: Pick<Bundle, 'directory' | 'digest'>,
  trusted: readonly string[],
): Promise<Signer> {
  const known = trusted.map(text => signerOf(text.trim()).publicKey)
  const signer = await readSignature(bundle)
  if (!signer) throw new FaultlineError('BUNDLE_UNSIGNED', `${bundle.directory} has no ${SIGNATURE_FILE}`)
  if (!known.includes(signer.publicKey))
    throw new FaultlineError(
      'BUNDLE_SIGNATURE_INVALID',
      `${bundle.directory} is signed with key ${signer.keyId}, which is not trusted`,
    )
  return signer
}

function parseSignature(text: string, path: string): z.infer<typeof signatureFile> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw toFaultlineError(cause, 'BUNDLE_SIGNATURE_INVALID', path)
  }
  const parsed = signatureFile.safeParse(json)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new FaultlineError(
    'BUNDLE_SIGNATURE_INVALID',
    `${path}: ${issue?.path.join('.') || 'signature'}: ${issue?.message ?? 'does not fit the format'}`,
  )
}
