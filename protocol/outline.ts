import { isUtf8 } from 'node:buffer'

/**
 * What any payload may be made of, whatever its kind. A schema reports every mistake it meets, so a megabyte of empty
 * objects would cost seconds and gigabytes; and code behind the schema may recurse into what the schema lets through.
 */
export const outlineLimits = { depth: 16, containers: 2_000, values: 20_000 } as const

/** Checks a value that was read from JSON. Returns what is wrong with it, or undefined. */
export function outlineFault(value: unknown): string | undefined {
  const counter = new Counter()
  const visit = (part: unknown, depth: number): string | undefined => {
    const isContainer = typeof part === 'object' && part !== null
    const fault = counter.count(isContainer, depth)
    if (fault || !isContainer) return fault
    // An own key of this name is harmless until somebody copies it with an assignment.
    if (Object.hasOwn(part, '__proto__')) return 'holds the key __proto__'
    for (const child of Object.values(part)) {
      const found = visit(child, depth + 1)
      if (found) return found
    }
    return undefined
  }
  return visit(value, 1)
}

class Counter {
  private containers = 0
  private values = 0

  count(isContainer: boolean, depth: number): string | undefined {
    if (++this.values > outlineLimits.values) return `holds more than ${outlineLimits.values} values`
    if (!isContainer) return undefined
    if (++this.containers > outlineLimits.containers)
      return `holds more than ${outlineLimits.containers} lists and maps`
    return depth > outlineLimits.depth ? `is nested deeper than ${outlineLimits.depth}` : undefined
  }
}

/** Major types of RFC 8949, 3.1. */
const major = { unsigned: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5, tag: 6, simple: 7 } as const

/** The one tag that is let through: bytes marked as unsigned 8-bit integers (RFC 8746), as some libraries write them. */
const uint8ArrayTag = 64

/** Simple values (RFC 8949, 3.3) false, true, null, undefined; floats of 2, 4 and 8 bytes follow as 25 to 27. */
const isPlainSimple = (info: number): boolean => (info >= 20 && info <= 23) || (info >= 25 && info <= 27)

interface Open {
  kind: 'array' | 'map'
  /** Items left to read; a map counts its keys and its values. */
  left: number
  keys: Set<string>
}

/**
 * Checks that bytes are one CBOR item of the plain kind the contract uses, before a library builds values from it:
 * definite lengths, text keys that do not repeat, UTF-8, and no tags, which make a decoder construct dates, sets,
 * expressions, shared references or records. Returns what is wrong, or undefined. Works without recursion.
 */
export function cborFault(bytes: Uint8Array): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const counter = new Counter()
  const open: Open[] = []
  let position = 0
  let tagged = false
  do {
    if (position >= bytes.byteLength) return 'ends too early'
    const initial = bytes[position++]!
    const type = initial >> 5
    const info = initial & 31
    const argumentBytes = info < 24 ? 0 : info < 28 ? 2 ** (info - 24) : undefined
    if (argumentBytes === undefined) return info === 31 ? 'has an item of indefinite length' : 'has a reserved item'
    if (position + argumentBytes > bytes.byteLength) return 'ends too early'
    const argument = readUnsigned(view, position, argumentBytes) ?? info
    position += argumentBytes

    const parent = open.at(-1)
    const isKey = parent?.kind === 'map' && parent.left % 2 === 0
    if (isKey && type !== major.text) return 'has a key that is not text'
    if (tagged && type !== major.bytes) return 'tags something that is not bytes'
    if (type === major.tag) {
      if (argument !== uint8ArrayTag) return `has the tag ${argument}`
      tagged = true
      continue
    }
    tagged = false
    const fault = counter.count(type === major.array || type === major.map, open.length + 1)
    if (fault) return fault
    if (parent) parent.left -= 1

    if (type === major.simple && !isPlainSimple(info)) return `has the simple value ${argument}`
    if (type === major.bytes || type === major.text) {
      if (argument > bytes.byteLength - position) return 'ends too early'
      const content = bytes.subarray(position, position + argument)
      position += argument
      if (type === major.text && !isUtf8(content)) return 'has text that is not UTF-8'
      if (isKey) {
        const key = Buffer.from(content).toString('latin1')
        if (parent.keys.has(key)) return 'repeats a key'
        if (key === '__proto__') return 'holds the key __proto__'
        parent.keys.add(key)
      }
    }
    if (type === major.array) open.push({ kind: 'array', left: argument, keys: noKeys })
    if (type === major.map) open.push({ kind: 'map', left: argument * 2, keys: new Set() })
    while (open.at(-1)?.left === 0) open.pop()
  } while (open.length > 0 || tagged)
  return position === bytes.byteLength ? undefined : 'goes on after its end'
}

const noKeys = new Set<string>()

function readUnsigned(view: DataView, position: number, size: number): number | undefined {
  if (size === 1) return view.getUint8(position)
  if (size === 2) return view.getUint16(position)
  if (size === 4) return view.getUint32(position)
  return size === 8 ? Number(view.getBigUint64(position)) : undefined
}
