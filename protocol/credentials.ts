import { randomBytes, scrypt as scryptCallback, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

const scrypt = promisify<string, Buffer, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(
  scryptCallback,
)

/** N = 2^14, r = 8, p = 1: 16 MiB and about 40 ms a check; secrets are random 192 bit, so no dictionary helps. */
const cost = { log2N: 14, r: 8, p: 1 }
const hashBytes = 32
/** Costs this software would ever have written: a hash that asks for more is not verified, because it could stall a broker. */
const highestCost = { log2N: 18, r: 16, p: 4 }
const format = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/

/** A fresh random secret of 192 bits, safe in a URL, a shell and YAML. */
export const newSecret = (): string => randomBytes(24).toString('base64url')

/** Hashes a secret with scrypt (RFC 7914) into the PHC string form `$scrypt$ln=14,r=8,p=1$salt$hash`. */
export async function hashSecret(secret: string): Promise<string> {
  const salt = randomBytes(16)
  const hash = await derive(secret, salt, cost.log2N, cost.r, cost.p)
  return `$scrypt$ln=${cost.log2N},r=${cost.r},p=${cost.p}$${unpadded(salt)}$${unpadded(hash)}`
}

/** Whether a secret belongs to a hash, compared in constant time. False for a hash of another form. */
export async function verifySecret(secret: string, phc: string): Promise<boolean> {
  const match = format.exec(phc)
  if (!match) return false
  const [log2N, r, p] = match.slice(1, 4).map(Number) as [number, number, number]
  if (log2N < 1 || r < 1 || p < 1) return false
  if (log2N > highestCost.log2N || r > highestCost.r || p > highestCost.p) return false
  const expected = Buffer.from(match[5]!, 'base64')
  const actual = await derive(secret, Buffer.from(match[4]!, 'base64'), log2N, r, p)
  return expected.length === actual.length && timingSafeEqual(expected, actual)
}

const derive = (secret: string, salt: Buffer, log2N: number, r: number, p: number): Promise<Buffer> =>
  scrypt(secret, salt, hashBytes, { N: 2 ** log2N, r, p, maxmem: 256 * 2 ** log2N * r })

const unpadded = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '')
