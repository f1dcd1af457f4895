import {
  bytesOf,
  channelOf,
  type InputDescription,
  imageExtents,
  openDataset,
  openImages,
  readRecordingFile,
  type SampleFormat,
} from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import type { SourceConfig } from './config.ts'
import { IioSource } from './iio/iio.ts'
import { ImageSource } from './images.ts'
import { csvLines } from './live/csv-lines.ts'
import { ProgramSource, type ProgramSourceOptions } from './live/program-source.ts'
import { MqttSource } from './mqtt/mqtt-source.ts'
import { ReplaySource } from './replay.ts'
import { gOf, type StatedUnit, signalUnits } from './signal-unit.ts'
import { SimulatedSource } from './simulated.ts'
import type { Source } from './source.ts'
import { checkBand } from './source-rate.ts'

/** What a window has to be: an image, or so many samples at a rate. */
export type SourceInput =
  | Extract<InputDescription, { kind: 'image' }>
  | { kind?: string; samples: number; rateHz: number }

type SignalInput = Exclude<SourceInput, { kind: 'image' }>

/** Hears what is assumed where a configuration does not say it. */
export type Notice = (assumption: string) => void

/**
 * Makes the source a configuration describes: its samples, in g, at the model's rate, in windows as the model takes them. `classes`
 * name what labels of images count. Throws `CONFIG_INVALID` when the model takes something else than the source gives; `RECORDING_UNREADABLE`, or
 * `RECORDING_INVALID` when there is no such recording or its rate is not the model's. Sensors are opened when their
 * windows are taken.
 */
export async function createSource(
  config: SourceConfig,
  input: SourceInput,
  classes: readonly string[] = [],
  notice: Notice = () => {},
): Promise<Source> {
  if (config.kind === 'images') {
    if (!takesImages(input))
      throw new FaultlineError('CONFIG_INVALID', 'the source gives images, the model takes signals')
    const extents = imageExtents(input)
    return new ImageSource({ ...config, extents, images: await openImages(config.directory, extents, classes) })
  }
  if (takesImages(input))
    throw new FaultlineError('CONFIG_INVALID', `the model takes images, a source "${config.kind}" gives signals`)
  if (config.kind === 'simulated')
    return new SimulatedSource({ ...config, rateHz: input.rateHz, windowSamples: input.samples })
  if (config.kind === 'replay') return replayOf(config, input)
  if (config.kind === 'iio') return iioOf(config, input, notice)
  noticeUnit(config, notice)
  if (config.kind === 'file') return fileOf(config, input)
  return config.kind === 'mqtt' ? mqttOf(config, input, notice) : commandOf(config, input, notice)
}

function iioOf(config: Extract<SourceConfig, { kind: 'iio' }>, input: SignalInput, notice: Notice): Source {
  const { channel, sensitivityMvPerG, rateHz: sensorHz, tacho } = config
  const volts = channel.startsWith('voltage')
  if (volts && sensitivityMvPerG === undefined) notice(`${channel} is in mV, without sensitivityMvPerG: taken as g`)
  // The kernel gives m/s² and mV.
  const unit: StatedUnit = volts ? {} : { unit: channel.startsWith('accel') ? 'm/s2' : 'g' }
  return new IioSource({
    ...config,
    ...windowOf(input),
    gPerUnit: volts && sensitivityMvPerG !== undefined ? 1 / sensitivityMvPerG : gOf(unit),
    tachoChannel: tacho?.channel,
    notice,
    ...(sensorHz !== undefined && { sensorHz }),
  })
}

function mqttOf(config: Extract<SourceConfig, { kind: 'mqtt' }>, input: SignalInput, notice: Notice): Source {
  const { rateHz: sourceHz, scale } = config
  if (sourceHz !== undefined) checkBand(config.topic, sourceHz, input.rateHz, 'CONFIG_INVALID')
  return new MqttSource({
    ...config,
    ...windowOf(input),
    scale: scale * gOf(config),
    notice,
    ...(sourceHz !== undefined && { sourceHz }),
  })
}

function commandOf(config: Extract<SourceConfig, { kind: 'command' }>, input: SignalInput, notice: Notice): Source {
  const { command, format, rateHz: sourceHz = input.rateHz } = config
  if (config.rateHz === undefined) notice(`no rateHz: taken as the ${sourceHz} Hz of the model`)
  checkBand(command.join(' '), sourceHz, input.rateHz, 'CONFIG_INVALID')
  const scale = config.scale * gOf(config)
  return new ProgramSource({
    ...config,
    ...windowOf(input),
    sourceHz,
    ...(format === 'csv' ? textDecoder({ ...config, scale }) : binaryDecoder({ ...config, format, scale })),
  })
}

type CommandConfig = Extract<SourceConfig, { kind: 'command' }>
type Decoder = Pick<ProgramSourceOptions, 'frameBytes' | 'decoder'>

const textDecoder = ({ column, scale, tacho }: CommandConfig): Decoder => ({
  frameBytes: 1,
  decoder: () => csvLines({ column, scale, ...(tacho && { tachoColumn: tacho.channel }) }),
})

function binaryDecoder(config: CommandConfig & { format: SampleFormat }): Decoder {
  const { format, channels, channel, scale, tacho } = config
  const of = (frames: Buffer, one: number) => channelOf(frames, { format, channels, channel: one, scale })
  return {
    frameBytes: bytesOf(format) * channels,
    decoder: () => frames => ({ samples: of(frames, channel), ...(tacho && { tacho: of(frames, tacho.channel) }) }),
  }
}

async function replayOf(config: Extract<SourceConfig, { kind: 'replay' }>, input: SignalInput): Promise<Source> {
  const dataset = await openDataset(config.directory)
  const recording = dataset.recordings.find(({ id }) => id === config.recording)
  if (!recording) {
    throw new FaultlineError('RECORDING_INVALID', `${config.directory} has no recording "${config.recording}"`)
  }
  const { samples, gaps, unit } = await dataset.signal(recording.id)
  const played = { recording, samples: inG(samples, statedIn(config, unit)), gaps: config.acrossGaps ? [] : gaps }
  return new ReplaySource({ ...config, ...windowOf(input), ...played })
}

async function fileOf(config: Extract<SourceConfig, { kind: 'file' }>, input: SignalInput): Promise<Source> {
  const { file, shaftHz, scale } = config
  const { rateHz = input.rateHz, samples, gaps, unit } = await readRecordingFile(file, config)
  const recording = { id: file, rateHz, ...(shaftHz !== undefined && { shaftHz }) }
  const factor = scale * gOf(statedIn(config, unit))
  return new ReplaySource({
    ...config,
    ...windowOf(input),
    recording,
    samples: samples.map(value => value * factor),
    gaps: config.acrossGaps ? [] : gaps,
  })
}

/** What the configuration states, else the recording itself. */
function statedIn({ unit, sensitivityMvPerG }: StatedUnit, recorded: string | undefined): StatedUnit {
  return { unit: unit ?? signalUnits.find(known => known === recorded), sensitivityMvPerG }
}

/** What every source that knows its own rate has to come to. */
const windowOf = ({ rateHz, samples }: SignalInput) => ({ rateHz, windowSamples: samples })

function inG(samples: Float32Array, stated: StatedUnit): Float32Array {
  const factor = gOf(stated)
  return factor === 1 ? samples : samples.map(sample => sample * factor)
}

function noticeUnit({ unit }: StatedUnit, notice: Notice): void {
  if (unit === undefined) notice('no unit: taken as g')
}

const takesImages = (input: SourceInput): input is Extract<SourceInput, { kind: 'image' }> => input.kind === 'image'
