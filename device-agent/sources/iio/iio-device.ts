import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import { sameRate } from '../source-rate.ts'
import { parseScanType, type ScanElement } from './scan-element.ts'

export interface IioChannel extends ScanElement {
  /** Value = (raw + offset) x scale, in the unit of the kernel: m/s² of an acceleration. */
  scale: number
  offset: number
}

/** One device of the kernel's Industrial I/O subsystem, by its sysfs directory. Throws `SENSOR_FAILED`. */
export class IioDevice {
  /** `iio:device0` */
  readonly id: string
  private readonly directory: string

  private constructor(id: string, directory: string) {
    this.id = id
    this.directory = directory
  }

  /** By its id, or by the name its driver gives it: `adxl345`. */
  static async find(wanted: string, sysfs: string): Promise<IioDevice> {
    const ids = await readdir(sysfs).catch(() => [])
    const names: string[] = []
    for (const id of ids.filter(entry => entry.startsWith('iio:device')).sort()) {
      const device = new IioDevice(id, join(sysfs, id))
      const name = await device.read('name').catch(() => '')
      if (id === wanted || name === wanted) return device
      names.push(`${id} (${name})`)
    }
    const there = names.length > 0 ? `there are ${names.join(', ')}` : 'there is none'
    throw new FaultlineError('SENSOR_FAILED', `no IIO device "${wanted}" in ${sysfs}; ${there}`)
  }

  /**
   * Makes the buffer ready: these channels, this trigger, this rate where the driver lets it be set. Gives every channel
   * that is in the buffer, and the rate, undefined where the driver does not tell.
   */
  async prepare(
    wanted: readonly string[],
    { trigger, rateHz, length }: { trigger?: string; rateHz: number; length: number },
  ): Promise<{ channels: IioChannel[]; rateHz?: number }> {
    // Nothing of a buffer that runs can be changed.
    await this.write('buffer/enable', '0')
    for (const name of wanted) await this.write(`scan_elements/in_${name}_en`, '1')
    if (trigger !== undefined) await this.write('trigger/current_trigger', trigger)
    await this.write('buffer/length', String(length))
    const channels = await this.channels()
    return { channels, rateHz: await this.rate(wanted[0]!, rateHz) }
  }

  async enable(on: boolean): Promise<void> {
    await this.write('buffer/enable', on ? '1' : '0')
  }

  private async channels(): Promise<IioChannel[]> {
    const entries = await readdir(join(this.directory, 'scan_elements')).catch(() => [])
    const channels: IioChannel[] = []
    for (const name of entries.flatMap(entry => /^in_(.+)_en$/.exec(entry)?.[1] ?? [])) {
      if ((await this.read(`scan_elements/in_${name}_en`)) !== '1') continue
      channels.push({
        name,
        index: Number(await this.read(`scan_elements/in_${name}_index`)),
        ...parseScanType(await this.read(`scan_elements/in_${name}_type`)),
        scale: (await this.number(name, 'scale')) ?? 1,
        offset: (await this.number(name, 'offset')) ?? 0,
      })
    }
    return channels
  }

  private async rate(channel: string, wanted: number): Promise<number | undefined> {
    const own = `in_${kindOf(channel)}_sampling_frequency`
    for (const attribute of [own, 'sampling_frequency']) {
      if ((await this.read(attribute).catch(() => undefined)) === undefined) continue
      // A driver that has this rate takes it; one that has others says so by the one it goes on with.
      const available = await this.read(`${attribute}_available`).catch(() => '')
      await this.write(attribute, String(nextOf(available, wanted))).catch(() => {})
      return Number(await this.read(attribute))
    }
    return undefined
  }

  /** Of the channel itself, or shared by its kind: `in_accel_z_scale`, `in_accel_scale`. */
  private async number(channel: string, what: string): Promise<number | undefined> {
    for (const name of [`in_${channel}_${what}`, `in_${kindOf(channel)}_${what}`]) {
      const text = await this.read(name).catch(() => undefined)
      if (text !== undefined) return Number(text)
    }
    return undefined
  }

  private async read(attribute: string): Promise<string> {
    try {
      return (await readFile(join(this.directory, attribute), 'utf8')).trim()
    } catch (cause) {
      throw this.failed(attribute, cause)
    }
  }

  private async write(attribute: string, value: string): Promise<void> {
    try {
      await writeFile(join(this.directory, attribute), value, { flag: 'r+' })
    } catch (cause) {
      throw this.failed(attribute, cause)
    }
  }

  private failed(attribute: string, cause: unknown): FaultlineError {
    return new FaultlineError('SENSOR_FAILED', `${this.id}: ${attribute}: ${(cause as Error).message}`, { cause })
  }
}

/** `accel` of `accel_z`, `voltage` of `voltage0`. */
const kindOf = (channel: string): string => channel.replace(/(_[a-z]+|\d+)$/, '')

/** The lowest rate of a driver's list that is not below the wanted one, or its highest; of a range, `[min step max]`, the wanted one. */
function nextOf(available: string, wantedHz: number): number {
  const rates = available.split(/\s+/).filter(Boolean).map(Number)
  if (rates.length === 0 || available.startsWith('[')) return wantedHz
  const enough = rates.filter(rate => rate > wantedHz || sameRate(rate, wantedHz))
  return enough.length > 0 ? Math.min(...enough) : Math.max(...rates)
}
