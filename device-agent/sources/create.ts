import {
  bytesOf,
  channelOf,
  type InputDescription,
  imageExtents,
  openDataset,
  openImages,
  rateTolerance,
  readRecordingFile,
} from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import type { SourceConfig } from './config.ts'
import { IioSource } from './iio/iio.ts'
import { ImageSource } from './images.ts'
import { ProgramSource } from './live/program-source.ts'
import { MqttSource } from './mqtt/mqtt-source.ts'
import { type ReplayOptions, ReplaySource } from './replay.ts'
import { SimulatedSource } from './simulated.ts'
import type { Source } from './source.ts'

/** What a window has to be: an image, or so many samples at a rate. */
export type SourceInput =
  | Extract<InputDescription, { kind: 'image' }>
  | { kind?: string; samples: number; rateHz: number }

type SignalInput = Exclude<SourceInput, { kind: 'image' }>

/**
 * Makes the source a configuration describes, with windows as the model takes them. `classes` name what labels of images
 * count. Throws `CONFIG_INVALID` when the model takes something else than the source gives; `RECORDING_UNREADABLE`, or
 * `RECORDING_INVALID` when there is no such recording or its rate is not the model's. Sensors are opened when their
 * windows are taken.
 */
export async function createSource(
  config: SourceConfig,
  input: SourceInput,
  classes: readonly string[] = [],
): Promise<Source> {
  if (config.kind === 'images') {
    if (!takesImages(input))
      throw new FaultlineError('CONFIG_INVALID', 'the source gives images, the model takes signals')
    const extents = imageExtents(input)
    return new ImageSource({ ...config, extents, images: await openImages(config.directory, extents, classes) })
  }
  if (takesImages(input))
    throw new FaultlineError('CONFIG_INVALID', `the model takes images, a source "${config.kind}" gives signals`)
  if (config.kind === 'replay') return replayOf(config, input)
  if (config.kind === 'file') return fileOf(config, input)
  const { rateHz, samples: windowSamples } = input
  if (config.kind === 'simulated') return new SimulatedSource({ ...config, rateHz, windowSamples })
  if (config.kind === 'iio')
    return new IioSource({ ...config, rateHz, windowSamples, tachoChannel: config.tacho?.channel })
  if (config.kind === 'mqtt') return new MqttSource({ ...config, rateHz, windowSamples })
  return commandOf(config, input)
}

function commandOf(config: Extract<SourceConfig, { kind: 'command' }>, input: SignalInput): Source {
  const { format, channels, channel, scale, tacho } = config
  const of = (frames: Buffer, one: number) => channelOf(frames, { format, channels, channel: one, scale })
  return new ProgramSource({
    ...config,
    rateHz: input.rateHz,
    windowSamples: input.samples,
    frameBytes: bytesOf(format) * channels,
    decode: frames => ({ samples: of(frames, channel), ...(tacho && { tacho: of(frames, tacho.channel) }) }),
  })
}

async function replayOf(config: Extract<SourceConfig, { kind: 'replay' }>, input: SignalInput): Promise<Source> {
  const dataset = await openDataset(config.directory)
  const recording = dataset.recordings.find(({ id }) => id === config.recording)
  if (!recording) {
    throw new FaultlineError('RECORDING_INVALID', `${config.directory} has no recording "${config.recording}"`)
  }
  checkRate(recording, input)
  const { samples, gaps } = await dataset.signal(recording.id)
  return replaySource({ ...config, recording, samples, gaps: config.acrossGaps ? [] : gaps }, input)
}

async function fileOf(config: Extract<SourceConfig, { kind: 'file' }>, input: SignalInput): Promise<Source> {
  const { file, shaftHz, scale } = config
  const { rateHz = input.rateHz, samples, gaps } = await readRecordingFile(file, config)
  const recording = { id: file, rateHz, ...(shaftHz !== undefined && { shaftHz }) }
  checkRate(recording, input)
  return replaySource(
    { ...config, recording, samples: samples.map(value => value * scale), gaps: config.acrossGaps ? [] : gaps },
    input,
  )
}

const replaySource = (options: Omit<ReplayOptions, 'windowSamples'>, { samples }: SignalInput): Source =>
  new ReplaySource({ ...options, windowSamples: samples })

function checkRate({ id, rateHz }: { id: string; rateHz: number }, input: SignalInput): void {
  if (Math.abs(rateHz - input.rateHz) <= rateTolerance * input.rateHz) return
  throw new FaultlineError(
    'RECORDING_INVALID',
    `${id} was recorded at ${rateHz} Hz, the model was made for ${input.rateHz} Hz`,
  )
}

const takesImages = (input: SourceInput): input is Extract<SourceInput, { kind: 'image' }> => input.kind === 'image'
