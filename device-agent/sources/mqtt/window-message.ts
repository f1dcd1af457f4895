import { bytesOf, channelOf, type SampleFormat, sampleFormats } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'

/** Of a message that holds one window: JSON, or nothing but samples. */
export const windowFormats = ['json', ...sampleFormats] as const
export type WindowFormat = (typeof windowFormats)[number]

export interface WindowMessageOptions {
  format: WindowFormat
  /** Samples that are no JSON follow a number that grows by one with each window: 32 bits, little endian. */
  numbered: boolean
  /** Physical units at full scale; of floats and of JSON, for each unit. */
  scale: number
  windowSamples: number
  rateHz: number
}

export interface WindowMessage {
  samples: Float32Array
  /** Of the window, where the sender counts them. */
  number?: number
  /** Where the sender measures it. */
  shaftHz?: number
}

const numberBytes = 4
/** Crystals differ a little; a sensor at another rate than the model's is of no use. */
const rateTolerance = 0.01

/**
 * Reads one window. JSON is a list of numbers, or `{"values": [...]}` with `rateHz`, `number` and `shaftHz` where they are
 * known; what is no number among the values becomes NaN, as a sensor might give it. Throws `SENSOR_FAILED` for a
 * message that is none, of another length or of another rate.
 */
export function readWindowMessage(payload: Buffer, options: WindowMessageOptions): WindowMessage {
  const { format, windowSamples } = options
  const message = format === 'json' ? readJson(payload, options) : readSamples(payload, format, options)
  if (message.samples.length !== windowSamples)
    throw wrong(`${message.samples.length} samples in a message, the model takes ${windowSamples}`)
  return message
}

function readSamples(payload: Buffer, format: SampleFormat, { numbered, scale, windowSamples }: WindowMessageOptions) {
  const begin = numbered ? numberBytes : 0
  const wanted = begin + windowSamples * bytesOf(format)
  if (payload.byteLength !== wanted)
    throw wrong(`${payload.byteLength} bytes in a message, ${windowSamples} samples as ${format} take ${wanted}`)
  const samples = channelOf(payload.subarray(begin), { format, channels: 1, channel: 0, scale })
  return { samples, ...(numbered && { number: payload.readUInt32LE(0) }) }
}

function readJson(payload: Buffer, { scale, rateHz: wantedHz }: WindowMessageOptions): WindowMessage {
  const content = parse(payload)
  const { values, rateHz, number, shaftHz } = (Array.isArray(content) ? { values: content } : content) as Record<
    string,
    unknown
  >
  if (!Array.isArray(values)) throw wrong('a message is neither a list of numbers nor has one as "values"')
  if (typeof rateHz === 'number' && !(Math.abs(rateHz - wantedHz) <= rateTolerance * wantedHz))
    throw wrong(`a window was taken at ${rateHz} Hz, the model needs ${wantedHz} Hz`)
  return {
    samples: Float32Array.from(values, value => (typeof value === 'number' ? value * scale : Number.NaN)),
    ...(typeof number === 'number' && { number }),
    ...(typeof shaftHz === 'number' && shaftHz > 0 && { shaftHz }),
  }
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
