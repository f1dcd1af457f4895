import type { Window } from '@faultline/inference'

const HEADER = 54

/** An image of 0..255 with three channels, or one, as a `data:` address of a BMP picture. */
export function bitmap({ samples, shape }: Pick<Window, 'samples' | 'shape'>): string {
  const [height, width, channels] = shape as [number, number, number]
  // Rows begin at multiples of four bytes, from the lowest up, blue first.
  const row = Math.ceil((width * 3) / 4) * 4
  const bytes = Buffer.alloc(HEADER + row * height)
  bytes.write('BM')
  bytes.writeUInt32LE(bytes.length, 2)
  bytes.writeUInt32LE(HEADER, 10)
  bytes.writeUInt32LE(40, 14)
  bytes.writeInt32LE(width, 18)
  bytes.writeInt32LE(height, 22)
  bytes.writeUInt16LE(1, 26)
  bytes.writeUInt16LE(24, 28)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let colour = 0; colour < 3; colour++) {
        const value = samples[(y * width + x) * channels + Math.min(2 - colour, channels - 1)]!
        bytes[HEADER + (height - 1 - y) * row + x * 3 + colour] = Math.min(255, Math.max(0, Math.round(value)))
      }
  return `data:image/bmp;base64,${bytes.toString('base64')}`
}
