import type { Random } from '@faultline/inference'

/** Fisher and Yates' shuffle, in place. */
export function shuffle<T extends unknown[] | Uint32Array>(items: T, random: Random): T {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random.uniform() * (i + 1))
    const held = items[i]
    items[i] = items[j]!
    items[j] = held!
  }
  return items
}
