import { crc32 } from 'node:zlib'

/** Length of what follows, then its CRC-32, both little-endian. */
const headBytes = 8
/** Nothing longer was ever written: an escalation has a mebibyte at most. */
const mostBytes = 4 * 2 ** 20

/** A frame: length, CRC-32, content. */
export function frameOf(content: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headBytes + content.byteLength)
  frame.writeUInt32LE(content.byteLength, 0)
  frame.writeUInt32LE(crc32(content), 4)
  frame.set(content, headBytes)
  return frame
}

/** The content of the frame that begins at an offset, or undefined for what is no whole frame. */
export function contentAt(bytes: Buffer, offset: number): Buffer | undefined {
  const begin = offset + headBytes
  if (begin > bytes.byteLength) return undefined
  const length = bytes.readUInt32LE(offset)
  if (length > mostBytes || begin + length > bytes.byteLength) return undefined
  const content = bytes.subarray(begin, begin + length)
  return crc32(content) === bytes.readUInt32LE(offset + 4) ? content : undefined
}

/** The frames at the beginning of some bytes, up to the first that is not whole. */
export function* framesIn(bytes: Buffer): Generator<{ offset: number; length: number; content: Buffer }> {
  for (let offset = 0; ; ) {
    const content = contentAt(bytes, offset)
    if (!content) return
    const length = headBytes + content.byteLength
    yield { offset, length, content }
    offset += length
  }
}
