import { bytesOf, channelOf, type SampleFormat, sampleFormats } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'

/** Of a message with samples: JSON, or nothing but samples. */
export const windowFormats = ['json', ...sampleFormats] as const
export type WindowFormat = (typeof windowFormats)[number]

export interface WindowMessageOptions {
  format: WindowFormat
  /** Samples that are no JSON follow a number that grows by one with each message: 32 bits, little endian. */
  numbered: boolean
  /** Physical units at full scale; of floats and of JSON, for each unit. */
  scale: number
}

export interface WindowMessage {
  samples: Float32Array
  /** Of the message, where the sender counts them. */
  number?: number
  /** Where the sender says it. */
  rateHz?: number
  /** Where the sender measures it. */
  shaftHz?: number
}

const numberBytes = 4

/**
 * Reads the samples of a message. JSON is a list of numbers, or `{"values": [...]}` with `rateHz`, `number` and `shaftHz` where
 * they are known; a number may be written as text, and what is no number among the values becomes NaN, as a sensor might
 * give it. Throws `SENSOR_FAILED` for a message that holds no samples.
 */
export function readWindowMessage(payload: Buffer, options: WindowMessageOptions): WindowMessage {
  const { format } = options
  return format === 'json' ? readJson(payload, options) : readSamples(payload, format, options)
}

function readSamples(payload: Buffer, format: SampleFormat, { numbered, scale }: WindowMessageOptions): WindowMessage {
  const begin = numbered ? numberBytes : 0
  const bytes = bytesOf(format)
  const length = (payload.byteLength - begin) / bytes
  if (!(Number.isInteger(length) && length > 0))
    throw wrong(
      `${payload.byteLength} bytes in a message are no samples as ${format}, ${bytes} bytes each${numbered ? ' behind a number of 4' : ''}`,
    )
  const samples = channelOf(payload.subarray(begin), { format, channels: 1, channel: 0, scale })
  return { samples, ...(numbered && { number: payload.readUInt32LE(0) }) }
}

function readJson(payload: Buffer, { scale }: WindowMessageOptions): WindowMessage {
  const content = parse(payload)
  const fields = (Array.isArray(content) ? { values: content } : content) as Record<string, unknown>
  if (!Array.isArray(fields.values) || fields.values.length === 0)
    throw wrong('a message is neither a list of numbers nor has one as "values"')
  const [rateHz, number, shaftHz] = [fields.rateHz, fields.number, fields.shaftHz].map(numberOf) as number[]
  if (rateHz! <= 0) throw wrong(`a message was taken at ${rateHz} Hz`)
  return {
    samples: Float32Array.from(fields.values, value => numberOf(value) * scale),
    ...(Number.isFinite(number) && { number: number! }),
    ...(Number.isFinite(rateHz) && { rateHz: rateHz! }),
    ...(shaftHz! > 0 && { shaftHz: shaftHz! }),
  }
}

/** NaN for what is no number. */
function numberOf(value: unknown): number {
  if (typeof value === 'string' && value.trim() !== '') return Number(value)
  return typeof value === 'number' ? value : Number.NaN
}

function parse(payload: Buffer): object {
  try {
    const content: unknown = JSON.parse(payload.toString('utf8'))
    if (typeof content === 'object' && content !== null) return content
  } catch {
    // Said below.
  }
  throw wrong('a message is no JSON list and no JSON object')
}

const wrong = (what: string): FaultlineError => new FaultlineError('SENSOR_FAILED', what)
