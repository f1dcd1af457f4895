/**
 * The text of a file: UTF-8, or UTF-16 as Excel's "Unicode text" and Windows loggers write it, with or without a byte
 * order mark; else Windows-1252, where a degree sign or a superscript is one byte. Undefined where the bytes are no text.
 */
export function textOf(bytes: Uint8Array): string | undefined {
  const text = new TextDecoder(encodingOf(bytes)).decode(bytes)
  return text.includes('\0') ? undefined : text
}

function encodingOf(bytes: Uint8Array): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le'
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be'
  // The digits and separators of a table have a zero as the other byte of UTF-16.
  const head = bytes.subarray(0, 200)
  const zeros = (parity: number) => head.filter((byte, i) => i % 2 === parity && byte === 0).length
  const most = Math.floor(head.length / 2) * 0.9
  if (head.length > 3 && zeros(1) > most) return 'utf-16le'
  if (head.length > 3 && zeros(0) > most) return 'utf-16be'
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return 'utf-8'
  } catch {
    return 'windows-1252'
  }
}
