import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Random } from '@faultline/inference'
import { mutated, pick, randomBytes } from './mutations.ts'

/** Values of the wrong type or size, in the place of any other. */
const nasty = (random: Random): unknown => {
  const value = pick<unknown>(random, [
    null,
    true,
    '',
    '__proto__',
    'x'.repeat(5_000),
    '\u0000',
    0,
    -1,
    1e308,
    2 ** 53,
    NaN,
    Infinity,
    0.1,
    [],
    {},
    [[1]],
    Array.from({ length: 1_000 }, (_, i) => i),
    JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{}}}'),
    JSON.parse(`${'['.repeat(500)}${']'.repeat(500)}`),
    JSON.parse(`${'{"a":'.repeat(200)}1${'}'.repeat(200)}`),
  ])
  return random.uniform() < 0.1 ? randomBytes(random, 40).toString('latin1') : value
}

const isContainer = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !(value instanceof Uint8Array) && Object.keys(value).length > 0

/** A copy with one value replaced, taken out, doubled or added, at any depth. */
function misshapen(value: unknown, random: Random): unknown {
  const copy = structuredClone(value)
  let at = copy
  let key = pick(random, Object.keys(at as object))
  while (isContainer((at as Record<string, unknown>)[key]) && random.uniform() < 0.6) {
    at = (at as Record<string, unknown>)[key]
    key = pick(random, Object.keys(at as object))
  }
  const target = at as Record<string, unknown>
  const old = target[key]
  switch (pick(random, ['replace', 'replace', 'replace', 'bend', 'remove', 'add'])) {
    case 'bend': // What it was, but more or less.
      if (typeof old === 'number') target[key] = pick(random, [-old, old + 1, old * 1e6, old + 0.5])
      else if (typeof old === 'string')
        target[key] = pick(random, [old.slice(1), `${old}/`, old.toUpperCase(), old.repeat(9)])
      else if (old instanceof Uint8Array) target[key] = mutated(Buffer.from(old), random, [Buffer.from(old)])
      else target[key] = [old]
      break
    case 'remove':
      if (Array.isArray(at)) at.splice(Number(key), 1)
      else delete target[key]
      break
    case 'add':
      target[pick(random, ['toString', 'extra', ''])] = nasty(random)
      break
    default:
      target[key] = nasty(random)
  }
  return copy
}

/** Payloads that are wrong in their shape, in their bytes, or in both. */
export function hostilePayload(valid: unknown, encode: (value: unknown) => Buffer, random: Random): Buffer {
  const form = random.uniform()
  const bytes = encode(form < 0.7 ? misshapen(valid, random) : valid)
  return form < 0.6 ? bytes : mutated(bytes, random, [bytes, randomBytes(random, 64)])
}

/** Bytes on the heap after a collection. */
export function collectedHeap(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  return process.memoryUsage().heapUsed
}
