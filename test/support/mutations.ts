import type { Random } from '@faultline/inference'

export const below = (random: Random, bound: number): number => Math.floor(random.uniform() * bound)

export const pick = <T>(random: Random, choices: readonly T[]): T => choices[below(random, choices.length)]!

/** Bytes at which readers go wrong: lengths, signs, and the first bytes of many encodings. */
const edges = [0x00, 0x01, 0x7f, 0x80, 0xc0, 0xfb, 0xff]

/** One change to some bytes, which may be any; `others` lend pieces of theirs. */
export function mutateBytes(bytes: Buffer, random: Random, others: readonly Buffer[]): Buffer {
  const at = below(random, bytes.length + 1)
  const length = 1 + below(random, pick(random, [1, 4, 64]))
  const tail = bytes.subarray(at)
  switch (below(random, 8)) {
    case 0: // A bit is flipped.
    case 1: {
      const flipped = Buffer.from(bytes)
      if (at < bytes.length) flipped[at]! ^= 1 << below(random, 8)
      return flipped
    }
    case 2: {
      const edged = Buffer.from(bytes)
      edged.fill(pick(random, edges), at, Math.min(at + length, bytes.length))
      return edged
    }
    case 3:
      return Buffer.concat([bytes.subarray(0, at), randomBytes(random, length), tail])
    case 4:
      return Buffer.concat([bytes.subarray(0, at), tail.subarray(length)])
    case 5:
      return Buffer.from(bytes.subarray(0, at))
    case 6: // A piece is said twice.
      return Buffer.concat([bytes.subarray(0, at), tail.subarray(0, length), tail])
    default: {
      const other = pick(random, others)
      const from = below(random, other.length)
      return Buffer.concat([bytes.subarray(0, at), other.subarray(from, from + length), tail.subarray(length)])
    }
  }
}

/** One or a few changes; never the bytes as they were. */
export function mutated(bytes: Buffer, random: Random, others: readonly Buffer[]): Buffer {
  let result = bytes
  for (let changes = pick(random, [1, 1, 1, 2, 5]); changes > 0 || result.equals(bytes); changes--) {
    result = mutateBytes(result, random, others)
  }
  return result
}

export function randomBytes(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.word() & 0xff))
}
