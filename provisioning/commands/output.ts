import type { RegistryEntry } from '../registry-entry.ts'

/** Prints for a person, on standard output. */
export const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

export const day = (time: string): string => time.slice(0, 10)

/** To the minute, UTC. */
export const minute = (time: string): string => `${time.slice(0, 10)} ${time.slice(11, 16)} UTC`

/** "2026-03-01, in 12 days", or how long it is over. */
export function dayFromNow(time: string, now = Date.now()): string {
  const days = (Date.parse(time) - now) / 86_400_000
  if (days < 0) return `${day(time)}, over`
  if (days < 2) return `${minute(time)}, in ${Math.floor(days * 24)} h`
  return `${day(time)}, in ${Math.floor(days)} days`
}

export const stateOf = ({ revokedAt, rotatedAt }: RegistryEntry): string => {
  if (revokedAt) return `revoked ${day(revokedAt)}`
  return rotatedAt ? `active, rotated ${day(rotatedAt)}` : 'active'
}
