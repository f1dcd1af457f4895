import { join } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import type { Block, LiveWindowsOptions } from '../live/live-windows.ts'
import { ProgramSource } from '../live/program-source.ts'
import type { Source, SourceWindow } from '../source.ts'
import { checkBand, sameRate } from '../source-rate.ts'
import { type IioChannel, IioDevice } from './iio-device.ts'
import { layoutOf, readRaw } from './scan-element.ts'

export interface IioOptions extends LiveWindowsOptions {
  /** `iio:device0`, or the name its driver gives it. */
  device: string
  /** Without `in_`: `accel_z`. */
  channel: string
  /** The channel of the tacho, where there is one. */
  tachoChannel?: string
  trigger?: string
  /** How many g one unit of the kernel's is. */
  gPerUnit?: number
  /** Sampling rate to set; that of the windows when absent, or the next above it that the driver has. */
  sensorHz?: number
  /** Hears once what is assumed because neither driver nor configuration says it. */
  notice?: (assumption: string) => void
  /** Where the kernel shows its devices. */
  sysfs?: string
  dev?: string
}

const bufferedS = 0.5
/** A timestamp later than this many samples means that samples are missing. */
const gapSamples = 1.5

/**
 * A sensor that the kernel has a driver for, through a triggered buffer of Linux' Industrial I/O subsystem. A program
 * reads the character device: a read that waits would take one of the few threads that files have. Throws `SENSOR_FAILED`.
 */
export class IioSource implements Source {
  readonly rateHz: number
  readonly windowSamples: number
  readonly intervalMs: number
  private readonly options: IioOptions
  private reader: ProgramSource | undefined
  private overrunsBefore = 0
  private noticed = false

  constructor(options: IioOptions) {
    this.options = options
    this.rateHz = options.rateHz
    this.windowSamples = options.windowSamples
    const hop = Math.max(options.windowSamples, Math.round((options.intervalMs * options.rateHz) / 1_000))
    this.intervalMs = (hop / options.rateHz) * 1_000
  }

  get overruns(): number {
    return this.overrunsBefore + (this.reader?.overruns ?? 0)
  }

  async *windows(signal: AbortSignal): AsyncGenerator<SourceWindow, void, void> {
    if (signal.aborted) return
    const { device: wanted, channel, tachoChannel, trigger, rateHz, sensorHz = rateHz, gPerUnit = 1 } = this.options
    const { sysfs = '/sys/bus/iio/devices', dev = '/dev' } = this.options
    const device = await IioDevice.find(wanted, sysfs)
    const names = tachoChannel === undefined ? [channel] : [channel, tachoChannel]
    const prepared = await device.prepare(names, { trigger, rateHz: sensorHz, length: Math.ceil(sensorHz * bufferedS) })
    const sourceHz = this.rateOf(device, prepared.rateHz)
    checkBand(device.id, sourceHz, rateHz, 'SENSOR_FAILED')
    this.overrunsBefore = this.overruns
    const { bytes } = layoutOf(prepared.channels)
    this.reader = new ProgramSource({
      ...this.options,
      command: ['cat', join(dev, device.id)],
      frameBytes: bytes,
      sourceHz,
      decoder: () => scansReader(prepared.channels, { channel, tachoChannel, rateHz: sourceHz, gPerUnit }),
    })
    await device.enable(true)
    try {
      yield* this.reader.windows(signal)
    } finally {
      await device.enable(false).catch(() => {}) // It may have been unplugged.
    }
  }

  /** What the driver says; else what the configuration says. */
  private rateOf(device: IioDevice, told: number | undefined): number {
    const { sensorHz, rateHz, notice } = this.options
    if (told !== undefined && sensorHz !== undefined && !sameRate(told, sensorHz))
      throw new FaultlineError('SENSOR_FAILED', `${device.id} runs at ${told} Hz, its rateHz says ${sensorHz} Hz`)
    if (told === undefined && sensorHz === undefined && !this.noticed)
      notice?.(`${device.id} does not say its rate: taken as the ${rateHz} Hz of the model; rateHz says another`)
    this.noticed = true
    return told ?? sensorHz ?? rateHz
  }
}

/** Reads scans: the channel, the tacho, and from the kernel's timestamps, where they are in the buffer, what is missing. */
function scansReader(
  channels: readonly IioChannel[],
  {
    channel,
    tachoChannel,
    rateHz,
    gPerUnit,
  }: { channel: string; tachoChannel?: string; rateHz: number; gPerUnit: number },
): (scans: Buffer) => Block {
  const { bytes, offsets } = layoutOf(channels)
  const valuesOf = (scans: Buffer, name: string): Float32Array => {
    const element = channels.find(candidate => candidate.name === name)!
    const offset = offsets.get(name)!
    return Float32Array.from(
      { length: scans.byteLength / bytes },
      (_, i) => (Number(readRaw(scans, i * bytes + offset, element)) + element.offset) * element.scale,
    )
  }
  const clock = channels.find(({ name }) => name === 'timestamp')
  let last: bigint | undefined
  const gapIn = (scans: Buffer): boolean => {
    if (!clock) return false
    let found = false
    for (let at = offsets.get('timestamp')!; at < scans.byteLength; at += bytes) {
      const now = readRaw(scans, at, clock)
      if (last !== undefined && Number(now - last) > (gapSamples * 1e9) / rateHz) found = true
      last = now
    }
    return found
  }
  return scans => ({
    samples: valuesOf(scans, channel).map(value => value * gPerUnit),
    ...(tachoChannel !== undefined && { tacho: valuesOf(scans, tachoChannel) }),
    ...(gapIn(scans) && { gap: true }),
  })
}
