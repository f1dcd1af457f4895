import { channelOf, type SampleFormat } from './sample-format.ts'
import type { SignalFile } from './signal-file.ts'

/** Format tags of WAVE (RFC 2361); the extensible one repeats the true tag at the begin of its sub-format. */
const wave = { pcm: 1, float: 3, extensible: 0xfffe }

interface Format {
  tag: number
  channels: number
  rateHz: number
  bits: number
}

/** True for what begins as a WAVE file does, one of more than 4 GB (RF64, EBU Tech 3306) included. */
export const isWav = (bytes: Buffer): boolean =>
  ['RIFF', 'RF64', 'BW64'].includes(bytes.toString('latin1', 0, 4)) && bytes.toString('latin1', 8, 12) === 'WAVE'

/** Opens a WAVE file. Integers are relative to full scale, -1 to 1. Throws where it is damaged or of another coding. */
export function openWav(bytes: Buffer): SignalFile {
  const { format, data } = chunksOf(bytes)
  const { channels, rateHz } = format
  const coding = codingOf(format)
  const samples = channelOf(data, { format: coding, channels, channel: 0, scale: 1 }).length
  return {
    format: 'wav',
    signals: Array.from({ length: channels }, (_, index) => ({ name: String(index), index, samples })),
    rateHz,
    read: ({ index }) => ({
      samples: channelOf(data, { format: coding, channels, channel: index, scale: 1 }),
      rateHz,
      gaps: [],
    }),
  }
}

function chunksOf(bytes: Buffer): { format: Format; data: Buffer } {
  let format: Format | undefined
  let longLength: number | undefined
  for (let at = 12; at + 8 <= bytes.byteLength; ) {
    const name = bytes.toString('latin1', at, at + 4)
    const stated = bytes.readUInt32LE(at + 4)
    const begin = at + 8
    const length = name === 'data' && stated === 0xffffffff ? (longLength ?? bytes.byteLength - begin) : stated
    if (name === 'ds64' && begin + 16 <= bytes.byteLength) longLength = Number(bytes.readBigUInt64LE(begin + 8))
    if (name === 'fmt ') format = formatIn(bytes.subarray(begin, begin + length))
    // A recorder that was switched off while it wrote leaves a length of nothing.
    if (name === 'data' && format)
      return { format, data: bytes.subarray(begin, length === 0 ? bytes.byteLength : begin + length) }
    // Chunks begin at even places.
    at = begin + length + (length % 2)
  }
  throw new Error('has no samples')
}

function formatIn(bytes: Buffer): Format {
  if (bytes.byteLength < 16) throw new Error('has a damaged format')
  const tag = bytes.readUInt16LE(0)
  if (tag === wave.extensible && bytes.byteLength < 26) throw new Error('has a damaged format')
  const format = {
    tag: tag === wave.extensible ? bytes.readUInt16LE(24) : tag,
    channels: bytes.readUInt16LE(2),
    rateHz: bytes.readUInt32LE(4),
    bits: bytes.readUInt16LE(14),
  }
  if (format.channels === 0 || format.rateHz === 0) throw new Error('has a damaged format')
  return format
}

function codingOf({ tag, bits }: Format): SampleFormat {
  const codings: Record<string, SampleFormat> = {
    [`${wave.pcm} 8`]: 'u8',
    [`${wave.pcm} 16`]: 's16le',
    [`${wave.pcm} 24`]: 's24le',
    [`${wave.pcm} 32`]: 's32le',
    [`${wave.float} 32`]: 'f32le',
    [`${wave.float} 64`]: 'f64le',
  }
  const coding = codings[`${tag} ${bits}`]
  if (!coding) throw new Error(`has format ${tag} with ${bits} bits, which is neither PCM nor float`)
  return coding
}
