/** Formats of samples in a WAVE file, as its header has them. */
export interface WaveFormat {
  tag: number
  bits: number
  channels: number
  rateHz: number
  /** In the header that says more (WAVE_FORMAT_EXTENSIBLE). */
  extensible?: boolean
  /** As files of more than 4 GB: lengths in a chunk of their own. */
  rf64?: boolean
}

/** A WAVE file: the format, a chunk of something else with an odd length, the samples, and a chunk behind them. */
export function wav({ tag, bits, channels, rateHz, extensible, rf64 }: WaveFormat, data: Buffer): Buffer {
  const format = Buffer.alloc(extensible ? 40 : 16)
  format.writeUInt16LE(extensible ? 0xfffe : tag, 0)
  format.writeUInt16LE(channels, 2)
  format.writeUInt32LE(rateHz, 4)
  format.writeUInt32LE((rateHz * channels * bits) / 8, 8)
  format.writeUInt16LE((channels * bits) / 8, 12)
  format.writeUInt16LE(bits, 14)
  if (extensible) {
    format.writeUInt16LE(22, 16)
    format.writeUInt16LE(bits, 18)
    format.writeUInt16LE(tag, 24)
    format.write('000000001000800000aa00389b71', 26, 'hex')
  }
  const sizes = Buffer.alloc(28)
  sizes.writeBigUInt64LE(BigInt(data.byteLength), 8)
  const body = [
    ...(rf64 ? [chunk('ds64', sizes)] : []),
    chunk('fmt ', format),
    chunk('LIST', Buffer.from('odd')),
    chunk('data', data, rf64 ? 0xffffffff : data.byteLength),
    chunk('LIST', Buffer.from('behind')),
  ]
  return chunk(rf64 ? 'RF64' : 'RIFF', Buffer.concat([Buffer.from('WAVE'), ...body]))
}

function chunk(name: string, bytes: Buffer, length = bytes.byteLength): Buffer {
  const head = Buffer.alloc(8)
  head.write(name, 'latin1')
  head.writeUInt32LE(length, 4)
  return Buffer.concat([head, bytes, Buffer.alloc(bytes.byteLength % 2)])
}
