import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto'
import { z } from 'zod'
import { FaultlineError } from './errors.ts'

/** The 32 bytes of an Ed25519 public key (RFC 8032) in base64url, as in a JSON Web Key. */
export const publicKeyText = z.string().regex(/^[A-Za-z0-9_-]{43}$/)
/** The 64 bytes of an Ed25519 signature in base64url. */
export const signatureText = z.string().regex(/^[A-Za-z0-9_-]{86}$/)

/** Who signed something. */
export interface Signer {
  /** The first 16 hexadecimal digits of the public key's SHA-256: short enough to read out. */
  keyId: string
  publicKey: string
}

export interface SigningKey extends Signer {
  /** PKCS #8 in PEM. */
  privateKey: string
}

export interface Signed extends Signer {
  signature: string
}

/** What can be signed. A signature says which, so that one made for anything else cannot stand in for it. */
export type SignedKind = 'bundle' | 'agent'

/** A fresh Ed25519 pair. */
export function createSigningKey(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { privateKey: String(privateKey.export({ type: 'pkcs8', format: 'pem' })), ...identify(publicKey) }
}

/** Signs a digest with a key in PKCS #8 PEM. Throws `CONFIG_INVALID` for a key that is no Ed25519 key. */
export function signDigest(kind: SignedKind, digest: string, privateKey: string): Signed {
  let key: KeyObject
  try {
    key = createPrivateKey(privateKey)
  } catch (cause) {
    throw new FaultlineError('CONFIG_INVALID', 'the private key is not PEM text', { cause })
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw new FaultlineError('CONFIG_INVALID', `the private key is an ${key.asymmetricKeyType} key, not an Ed25519 one`)
  const signature = sign(null, statement(kind, digest), key).toString('base64url')
  return { ...identify(createPublicKey(key)), signature }
}

/** Who signs a bundle, and the text of its `bundle.sig`; `digest` is that of `bundle.json`. Throws as `signDigest`. */
export function bundleSignature(digest: string, privateKey: string): { signer: Signer; text: string } {
  const { signature, ...signer } = signDigest('bundle', digest, privateKey)
  return { signer, text: `${JSON.stringify({ algorithm: 'ed25519', ...signer, signature }, null, 1)}\n` }
}

/** Who signed a digest; undefined where the signature is not of this digest by this key. Throws as `signerOf`. */
export function verifyDigest(
  kind: SignedKind,
  digest: string,
  { publicKey, signature }: Pick<Signed, 'publicKey' | 'signature'>,
): Signer | undefined {
  const signer = signerOf(publicKey)
  const good = verify(null, statement(kind, digest), publicKeyOf(publicKey), Buffer.from(signature, 'base64url'))
  return good ? signer : undefined
}

/** Throws `CONFIG_INVALID` for a text that is no Ed25519 public key. */
export const signerOf = (publicKey: string): Signer => identify(publicKeyOf(publicKey))

const statement = (kind: SignedKind, digest: string): Buffer => Buffer.from(`faultline ${kind} ${digest}`)

function publicKeyOf(text: string): KeyObject {
  try {
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: publicKeyText.parse(text) }, format: 'jwk' })
  } catch (cause) {
    throw new FaultlineError('CONFIG_INVALID', 'a public key is not one of Ed25519 in 43 base64url characters', {
      cause,
    })
  }
}

function identify(publicKey: KeyObject): Signer {
  const text = publicKey.export({ format: 'jwk' }).x!
  const keyId = createHash('sha256').update(Buffer.from(text, 'base64url')).digest('hex').slice(0, 16)
  return { keyId, publicKey: text }
}
