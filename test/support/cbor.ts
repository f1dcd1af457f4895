/** A hand-made CBOR writer for bytes that no library would write (RFC 8949). */
export const head = (major: number, argument: number): Buffer => {
  if (argument < 24) return Buffer.of((major << 5) | argument)
  if (argument < 0x100) return Buffer.of((major << 5) | 24, argument)
  const bytes = Buffer.alloc(5)
  bytes[0] = (major << 5) | 26
  bytes.writeUInt32BE(argument, 1)
  return bytes
}

export const text = (value: string): Buffer => Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)])
export const byteString = (value: Uint8Array): Buffer => Buffer.concat([head(2, value.length), value])
export const list = (...items: Uint8Array[]): Buffer => Buffer.concat([head(4, items.length), ...items])
export const tag = (number: number, item: Uint8Array): Buffer => Buffer.concat([head(6, number), item])
export const map = (...entries: [key: Uint8Array, value: Uint8Array][]): Buffer =>
  Buffer.concat([head(5, entries.length), ...entries.flat()])

export function float64(value: number): Buffer {
  const bytes = Buffer.alloc(9)
  bytes[0] = 0xfb
  bytes.writeDoubleBE(value, 1)
  return bytes
}

/** Any JSON-like value with bytes in it; whole numbers as integers, others as 64-bit floats. */
export function cbor(value: unknown): Buffer {
  if (Buffer.isBuffer(value)) return value // Written already.
  if (value instanceof Uint8Array) return byteString(value)
  if (typeof value === 'string') return text(value)
  if (typeof value === 'boolean') return Buffer.of(value ? 0xf5 : 0xf4)
  if (typeof value === 'number') {
    if (!Number.isInteger(value) || Math.abs(value) >= 2 ** 32) return float64(value)
    return value < 0 ? head(1, -1 - value) : head(0, value)
  }
  if (Array.isArray(value)) return list(...value.map(cbor))
  if (value === null || value === undefined) return Buffer.of(value === null ? 0xf6 : 0xf7)
  return map(...Object.entries(value).map(([key, part]): [Buffer, Buffer] => [text(key), cbor(part)]))
}
