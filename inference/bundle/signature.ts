import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import type { Bundle } from './bundle.ts'

export const SIGNATURE_FILE = 'bundle.sig'

/** 32 bytes in base64url. */
export const publicKeyText = z.string().regex(/^[A-Za-z0-9_-]{43}$/)
/** 64 bytes in base64url. */
const signatureText = z.string().regex(/^[A-Za-z0-9_-]{86}$/)

/** `bundle.sig`. It signs the digest of `bundle.json`, which names the digest of every other file. */
const signatureFile = z.strictObject({
  algorithm: z.literal('ed25519'),
  /** The first 16 hexadecimal digits of the public key's SHA-256: short enough to read out. */
  keyId: z.string().regex(/^[0-9a-f]{16}$/),
  publicKey: publicKeyText,
  signature: signatureText,
})

/** Who signed a bundle. */
export interface BundleSignature {
  keyId: string
  /** The 32 bytes of an Ed25519 public key (RFC 8032) in base64url, as in a JSON Web Key. */
  publicKey: string
}

export interface SigningKey extends BundleSignature {
  /** PKCS #8 in PEM. */
  privateKey: string
}

/** A fresh Ed25519 pair. */
export function createSigningKey(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { privateKey: String(privateKey.export({ type: 'pkcs8', format: 'pem' })), ...identify(publicKey) }
}

/**
 * Writes `bundle.sig` beside a bundle's description. `privateKey` is PKCS #8 in PEM.
 * Throws `CONFIG_INVALID` for a key that is no Ed25519 key, and `BUNDLE_UNREADABLE`.
 */
export async function signBundle({ directory, digest }: Bundle, privateKey: string): Promise<BundleSignature> {
  const key = ed25519(() => createPrivateKey(privateKey), 'the private key')
  const signer = identify(createPublicKey(key))
  const signature = sign(null, signedBytes(digest), key).toString('base64url')
  const path = join(directory, SIGNATURE_FILE)
  try {
    await writeFile(`${path}.tmp`, `${JSON.stringify({ algorithm: 'ed25519', ...signer, signature }, null, 1)}\n`)
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
}: Pick<Bundle, 'directory' | 'digest'>): Promise<BundleSignature | undefined> {
  const path = join(directory, SIGNATURE_FILE)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw toFaultlineError(cause, 'BUNDLE_UNREADABLE', path)
  }
  const { signature, publicKey, keyId } = parseSignature(text, path)
  const key = publicKeyOf(publicKey, path, 'BUNDLE_SIGNATURE_INVALID')
  const signer = identify(key)
  if (keyId !== signer.keyId || !verify(null, signedBytes(digest), key, Buffer.from(signature, 'base64url')))
    throw new FaultlineError(
      'BUNDLE_SIGNATURE_INVALID',
      `${path} is not the signature of this bundle by key ${signer.keyId}`,
    )
  return signer
}

/** Throws `BUNDLE_UNSIGNED` or `BUNDLE_SIGNATURE_INVALID` unless one of the trusted keys signed the bundle. */
export async function checkSignature(
  bundle: Pick<Bundle, 'directory' | 'digest'>,
  trusted: readonly string[],
): Promise<BundleSignature> {
  const known = trusted.map(text => identify(publicKeyOf(text.trim(), 'a trusted key', 'CONFIG_INVALID')).publicKey)
  const signer = await readSignature(bundle)
  if (!signer) throw new FaultlineError('BUNDLE_UNSIGNED', `${bundle.directory} has no ${SIGNATURE_FILE}`)
  if (!known.includes(signer.publicKey))
    throw new FaultlineError(
      'BUNDLE_SIGNATURE_INVALID',
      `${bundle.directory} is signed with key ${signer.keyId}, which is not trusted`,
    )
  return signer
}

/** Says what it is, so that a signature made for anything else cannot stand in for it. */
function signedBytes(digest: string): Buffer {
  return Buffer.from(`faultline bundle ${digest}`)
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

function publicKeyOf(text: string, what: string, code: 'BUNDLE_SIGNATURE_INVALID' | 'CONFIG_INVALID'): KeyObject {
  try {
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: publicKeyText.parse(text) }, format: 'jwk' })
  } catch (cause) {
    throw new FaultlineError(code, `${what} is no Ed25519 public key of 43 base64url characters`, { cause })
  }
}

function ed25519(read: () => KeyObject, what: string): KeyObject {
  let key: KeyObject | undefined
  try {
    key = read()
  } catch (cause) {
    throw new FaultlineError('CONFIG_INVALID', `${what} is not PEM text`, { cause })
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw new FaultlineError('CONFIG_INVALID', `${what} is an ${key.asymmetricKeyType} key, not an Ed25519 one`)
  return key
}

function identify(publicKey: KeyObject): BundleSignature {
  const text = publicKey.export({ format: 'jwk' }).x!
  const keyId = createHash('sha256').update(Buffer.from(text, 'base64url')).digest('hex').slice(0, 16)
  return { keyId, publicKey: text }
}
