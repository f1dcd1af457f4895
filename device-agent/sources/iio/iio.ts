import { join } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import type { Block, LiveWindowsOptions } from '../live/live-windows.ts'
import { ProgramSource } from '../live/program-source.ts'
import type { Source, SourceWindow } from '../source.ts'
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
  /** Where the kernel shows its devices. */
  sysfs?: string
  dev?: string
}

/** Crystals differ a little; a sensor at another rate than the model's is of no use. */
const rateTolerance = 0.01
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
    const { device: wanted, channel, tachoChannel, trigger, rateHz } = this.options
    const { sysfs = '/sys/bus/iio/devices', dev = '/dev' } = this.options
    const device = await IioDevice.find(wanted, sysfs)
    const names = tachoChannel === undefined ? [channel] : [channel, tachoChannel]
    const prepared = await device.prepare(names, { trigger, rateHz, length: Math.ceil(rateHz * bufferedS) })
    if (prepared.rateHz !== undefined && Math.abs(prepared.rateHz - rateHz) > rateTolerance * rateHz)
      throw new FaultlineError(
        'SENSOR_FAILED',
        `${device.id} runs at ${prepared.rateHz} Hz, the model needs ${rateHz} Hz`,
      )
    this.overrunsBefore = this.overruns
    const { bytes } = layoutOf(prepared.channels)
    this.reader = new ProgramSource({
      ...this.options,
      command: ['cat', join(dev, device.id)],
      frameBytes: bytes,
      decode: scansReader(prepared.channels, { channel, tachoChannel, rateHz }),
    })
    await device.enable(true)
    try {
      yield* this.reader.windows(signal)
    } finally {
      await device.enable(false).catch(() => {}) // It may have been unplugged.
    }
  }
}

/** Reads scans: the channel, the tacho, and from the kernel's timestamps, where they are in the buffer, what is missing. */
function scansReader(
  channels: readonly IioChannel[],
  { channel, tachoChannel, rateHz }: { channel: string; tachoChannel?: string; rateHz: number },
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
    samples: valuesOf(scans, channel),
    ...(tachoChannel !== undefined && { tacho: valuesOf(scans, tachoChannel) }),
    ...(gapIn(scans) && { gap: true }),
  })
}
