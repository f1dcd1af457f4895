import { FaultlineError } from '@faultline/protocol'

/**
 * How the kernel lays one channel's sample out in a buffer, as `scan_elements/…_type` says it:
 * `[be|le]:[s|u]bits/storagebits[Xrepeat][>>shift]` (Linux, Documentation/ABI/testing/sysfs-bus-iio).
 */
export interface ScanType {
  littleEndian: boolean
  signed: boolean
  bits: number
  storageBits: number
  repeat: number
  shift: number
}

export interface ScanElement extends ScanType {
  name: string
  index: number
}

const form = /^(be|le):(s|u)(\d+)\/(\d+)(?:X(\d+))?(?:>>(\d+))?$/

/** Throws `SENSOR_FAILED` for a type that is none. */
export function parseScanType(text: string): ScanType {
  const match = form.exec(text.trim())
  const [, order, sign, bits, storageBits, repeat = '1', shift = '0'] = match ?? []
  const type = {
    littleEndian: order === 'le',
    signed: sign === 's',
    bits: Number(bits),
    storageBits: Number(storageBits),
    repeat: Number(repeat),
    shift: Number(shift),
  }
  const fits = type.bits >= 1 && type.bits + type.shift <= type.storageBits && type.repeat >= 1
  if (match && fits && [8, 16, 32, 64].includes(type.storageBits)) return type
  throw new FaultlineError('SENSOR_FAILED', `"${text.trim()}" is no type of an IIO scan element`)
}

/** Where each channel lies in a scan, by name, and how long the scan is: each is aligned to its own size. */
export function layoutOf(elements: readonly ScanElement[]): { bytes: number; offsets: Map<string, number> } {
  const offsets = new Map<string, number>()
  let end = 0
  let largest = 1
  for (const { name, storageBits, repeat } of [...elements].sort((a, b) => a.index - b.index)) {
    const bytes = (storageBits / 8) * repeat
    end = Math.ceil(end / bytes) * bytes
    offsets.set(name, end)
    end += bytes
    largest = Math.max(largest, bytes)
  }
  return { bytes: Math.ceil(end / largest) * largest, offsets }
}

/** The raw value of a channel; of a repeated one, the first. */
export function readRaw(
  scan: Buffer,
  at: number,
  { littleEndian, signed, bits, storageBits, shift }: ScanType,
): bigint {
  let stored = 0n
  const bytes = storageBits / 8
  for (let i = 0; i < bytes; i++) stored = (stored << 8n) | BigInt(scan[littleEndian ? at + bytes - 1 - i : at + i]!)
  const value = stored >> BigInt(shift)
  return signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value)
}
