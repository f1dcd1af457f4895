import type { RegistryEntry } from '../registry-entry.ts'

/** Prints for a person, on standard output. */
export const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

export const day = (time: string): string => time.slice(0, 10)

export const stateOf = ({ revokedAt, rotatedAt }: RegistryEntry): string => {
  if (revokedAt) return `revoked ${day(revokedAt)}`
  return rotatedAt ? `active, secret of ${day(rotatedAt)}` : 'active'
}
