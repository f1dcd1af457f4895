import { readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { parse } from 'csv-parse/sync'
import { channelOf, type SampleFormat } from './live/sample-format.ts'

export interface RecordingFile {
  rateHz: number
  samples: Float32Array
}

export interface RecordingFileOptions {
  /** Column of a CSV file by name or number, or channel of a WAV file, from 0. */
  column: string | number
  /** Physical units at full scale of a WAV file, or per unit of a CSV file. */
  scale: number
  /** Of a CSV file, which does not say. */
  rateHz: number
}

/** Reads a WAV or CSV file. Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`. */
export async function readRecordingFile(path: string, options: RecordingFileOptions): Promise<RecordingFile> {
  const bytes = await readFile(path).catch(cause => {
    throw toFaultlineError(cause, 'RECORDING_UNREADABLE', path)
  })
  const kind = extname(path).toLowerCase()
  try {
    if (kind === '.wav') return readWav(bytes, options)
    if (kind === '.csv') return readCsv(bytes.toString('utf8'), options)
  } catch (cause) {
    throw new FaultlineError('RECORDING_INVALID', `${path}: ${(cause as Error).message}`, { cause })
  }
  throw new FaultlineError('RECORDING_UNREADABLE', `${path}: a .wav or .csv file is needed`)
}

/** Format tags of WAVE (RFC 2361); the extensible one repeats the true tag at the begin of its sub-format. */
const wave = { pcm: 1, float: 3, extensible: 0xfffe }

function readWav(bytes: Buffer, { column, scale }: RecordingFileOptions): RecordingFile {
  if (bytes.toString('latin1', 0, 4) !== 'RIFF' || bytes.toString('latin1', 8, 12) !== 'WAVE')
    throw new Error('is no WAV file')
  let format: { tag: number; channels: number; rateHz: number; bits: number } | undefined
  for (let at = 12; at + 8 <= bytes.byteLength; ) {
    const name = bytes.toString('latin1', at, at + 4)
    const length = bytes.readUInt32LE(at + 4)
    const begin = at + 8
    if (name === 'fmt ') {
      const tag = bytes.readUInt16LE(begin)
      format = {
        tag: tag === wave.extensible ? bytes.readUInt16LE(begin + 24) : tag,
        channels: bytes.readUInt16LE(begin + 2),
        rateHz: bytes.readUInt32LE(begin + 4),
        bits: bytes.readUInt16LE(begin + 14),
      }
    } else if (name === 'data' && format) {
      const { channels, rateHz } = format
      const channel = Number(column)
      if (!(channel >= 0 && channel < channels)) throw new Error(`has ${channels} channels, not one number ${column}`)
      const data = bytes.subarray(begin, Math.min(begin + length, bytes.byteLength))
      return { rateHz, samples: channelOf(data, { format: formatOf(format), channels, channel, scale }) }
    }
    // Chunks begin at even places.
    at = begin + length + (length % 2)
  }
  throw new Error('has no samples')
}

function formatOf({ tag, bits }: { tag: number; bits: number }): SampleFormat {
  const formats: Record<string, SampleFormat> = {
    [`${wave.pcm} 8`]: 'u8',
    [`${wave.pcm} 16`]: 's16le',
    [`${wave.pcm} 24`]: 's24le',
    [`${wave.pcm} 32`]: 's32le',
    [`${wave.float} 32`]: 'f32le',
    [`${wave.float} 64`]: 'f64le',
  }
  const format = formats[`${tag} ${bits}`]
  if (!format) throw new Error(`has format ${tag} with ${bits} bits, which is neither PCM nor float`)
  return format
}

function readCsv(text: string, { column, scale, rateHz }: RecordingFileOptions): RecordingFile {
  const rows = parse(text, {
    bom: true,
    trim: true,
    skip_empty_lines: true,
    comment: '#',
    delimiter: [',', ';', '\t'],
    relax_column_count: true,
  }) as string[][]
  const [head = []] = rows
  const named = head.some(cell => cell !== '' && Number.isNaN(Number(cell)) && !/^[+-]?(nan|inf)/i.test(cell))
  const index = typeof column === 'number' ? column : head.indexOf(column)
  if (index < 0 || index >= head.length) throw new Error(`has no column ${JSON.stringify(column)}`)
  // A cell that is no number stays NaN: the sensor, not the file, was at fault then.
  const values = (named ? rows.slice(1) : rows).map(row => (row[index] ? Number(row[index]) * scale : Number.NaN))
  return { rateHz, samples: Float32Array.from(values) }
}
