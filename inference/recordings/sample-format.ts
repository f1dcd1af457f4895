/** How numbers lie in a stream of samples; the names are those of ALSA and ffmpeg. */
export const sampleFormats = [
  'u8',
  's8',
  's16le',
  's16be',
  's24le',
  's32le',
  's32be',
  'f32le',
  'f32be',
  'f64le',
] as const
export type SampleFormat = (typeof sampleFormats)[number]

const readers: Record<SampleFormat, { bytes: number; fullScale: number; read(from: Buffer, at: number): number }> = {
  u8: { bytes: 1, fullScale: 128, read: (from, at) => from.readUInt8(at) - 128 },
  s8: { bytes: 1, fullScale: 128, read: (from, at) => from.readInt8(at) },
  s16le: { bytes: 2, fullScale: 2 ** 15, read: (from, at) => from.readInt16LE(at) },
  s16be: { bytes: 2, fullScale: 2 ** 15, read: (from, at) => from.readInt16BE(at) },
  s24le: { bytes: 3, fullScale: 2 ** 23, read: (from, at) => from.readIntLE(at, 3) },
  s32le: { bytes: 4, fullScale: 2 ** 31, read: (from, at) => from.readInt32LE(at) },
  s32be: { bytes: 4, fullScale: 2 ** 31, read: (from, at) => from.readInt32BE(at) },
  f32le: { bytes: 4, fullScale: 1, read: (from, at) => from.readFloatLE(at) },
  f32be: { bytes: 4, fullScale: 1, read: (from, at) => from.readFloatBE(at) },
  f64le: { bytes: 8, fullScale: 1, read: (from, at) => from.readDoubleLE(at) },
}

export const bytesOf = (format: SampleFormat): number => readers[format].bytes

/**
 * One channel of interleaved frames. Values are relative to full scale, -1 to 1, times `scale`: physical units at full
 * scale. Floats are taken as they are, times `scale`.
 */
export function channelOf(
  frames: Buffer,
  { format, channels, channel, scale }: { format: SampleFormat; channels: number; channel: number; scale: number },
): Float32Array {
  const { bytes, fullScale, read } = readers[format]
  const frameBytes = bytes * channels
  const values = new Float32Array(Math.floor(frames.byteLength / frameBytes))
  const factor = scale / fullScale
  for (let i = 0; i < values.length; i++) values[i] = read(frames, i * frameBytes + channel * bytes) * factor
  return values
}
