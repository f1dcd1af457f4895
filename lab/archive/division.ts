import { createHash } from 'node:crypto'

export const sides = ['train', 'validation', 'test'] as const
export type Side = (typeof sides)[number]

/** Shares of the machines, not of the windows. */
const shares = { train: 0.6, validation: 0.2 }

/**
 * The side that all windows of a machine are on. Windows of one machine resemble each other too much to be on two; and a machine stays
 * where it is in every later export with the same seed, so that what once tested never trains.
 */
export function sideOf(site: string, machine: string, seed: number): Side {
  const hash = createHash('sha256').update(`${seed}/${site}/${machine}`).digest()
  const place = hash.readUInt32BE(0) / 2 ** 32
  if (place < shares.train) return 'train'
  return place < shares.train + shares.validation ? 'validation' : 'test'
}
