import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { createSource, type Source, type SourceWindow, sourceConfig } from '@faultline/device-agent'
import { channelOf, sampleFormats } from '@faultline/inference'
import { IioSource } from '../../device-agent/sources/iio/iio.ts'
import { layoutOf, parseScanType, readRaw } from '../../device-agent/sources/iio/scan-element.ts'
import { LiveWindows } from '../../device-agent/sources/live/live-windows.ts'
import { shaftHzOf } from '../../device-agent/sources/live/tacho.ts'
import { IioTree, scanElement } from '../support/iio-tree.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { testSource } from './source-suite.ts'

const windowSamples = 256
const rateFor = (intervalMs: number) => (windowSamples / intervalMs) * 1_000

/** Writes a ramp, a window at once and then one every so many ms, as a sensor would. */
const ramp = (intervalMs: number) => `
  let n = 0
  const next = () => {
    const samples = Int16Array.from({ length: ${windowSamples} }, () => n++ % 30000)
    process.stdout.write(Buffer.from(samples.buffer))
  }
  next()
  setInterval(next, ${intervalMs})`

const command = (line: string[], intervalMs: number, more: Record<string, unknown> = {}) =>
  createSource(sourceConfig.parse({ kind: 'command', command: line, format: 's16le', intervalMs, ...more }), {
    samples: windowSamples,
    rateHz: rateFor(intervalMs),
  })

testSource({
  name: 'command',
  live: true,
  create: intervalMs => command([process.execPath, '-e', ramp(intervalMs)], intervalMs),
})

testSource({
  name: 'iio',
  live: true,
  create: async (intervalMs, t) => {
    const tree = await IioTree.create(t, scanElement('accel_z', 0, 'le:s16/16>>0'))
    let n = 0
    const next = () => {
      if (n >= 100 * windowSamples) return
      tree
        .feed(Buffer.from(Int16Array.from({ length: windowSamples }, () => n++).buffer))
        .catch(error => t.diagnostic(`${error}`))
    }
    next()
    const timer = setInterval(next, intervalMs)
    t.after(() => clearInterval(timer))
    return iio(tree, { rateHz: rateFor(intervalMs), intervalMs })
  },
})

const iio = (tree: IioTree, more: Partial<ConstructorParameters<typeof IioSource>[0]> = {}) =>
  new IioSource({
    device: 'adxl345',
    channel: 'accel_z',
    rateHz: 1_000,
    windowSamples,
    intervalMs: 1,
    sysfs: tree.sysfs,
    dev: tree.dev,
    ...more,
  })

async function take(source: Source, count: number, taken: (windows: number) => unknown = () => {}) {
  const stopping = new AbortController()
  const windows: SourceWindow[] = []
  for await (const window of source.windows(stopping.signal)) {
    if (windows.push(window) === count) stopping.abort()
    else await taken(windows.length)
  }
  return windows
}

test('a program that ends, or is not there, is a sensor that failed, with its last words', async () => {
  const failing = await command(['sh', '-c', 'echo no such card >&2; exit 3'], 10)
  await assert.rejects(take(failing, 1), { code: 'SENSOR_FAILED', message: 'sh: ended with 3: no such card' })
  await assert.rejects(take(await command(['no-such-program'], 10), 1), { code: 'SENSOR_FAILED' })
})

test('a program gives the channel asked for in physical units, and the speed from its tacho', async () => {
  // Two channels: 8192 on the first, a square wave of 25 Hz on the second.
  const script = `
    const frames = Int16Array.from({ length: 2 * 512 }, (_, i) => i % 2 ? ((i >> 1) % 40 < 20 ? 0 : 9000) : 8192)
    process.stdout.write(Buffer.from(frames.buffer)); setInterval(() => {}, 1000)`
  const tacho = { channel: 1, pulsesPerRevolution: 2 }
  const source = await createSource(
    sourceConfig.parse({
      kind: 'command',
      command: [process.execPath, '-e', script],
      format: 's16le',
      channels: 2,
      scale: 50,
      tacho,
    }),
    { samples: 512, rateHz: 1_000 },
  )
  const [first] = await take(source, 1)
  assert.ok(first!.window.samples.every(value => value === 12.5))
  assert.equal(first!.window.shaftHz, 12.5)
})

test('a channel beyond those of the program is refused', () => {
  const wrong = { kind: 'command', command: ['arecord'], format: 's16le', channels: 2 }
  assert.ok(!sourceConfig.safeParse({ ...wrong, channel: 2 }).success)
  assert.ok(!sourceConfig.safeParse({ ...wrong, tacho: { channel: 5 } }).success)
})

test('every format of a stream reads what was written in it', () => {
  for (const format of sampleFormats) {
    const [, kind, bits, order] = /^([suf])(\d+)(le|be)?$/.exec(format)!
    const bytes = Number(bits) / 8
    const frame = Buffer.alloc(2 * bytes)
    const half = kind === 'f' ? -0.5 : -(2 ** (Number(bits) - 2))
    if (kind === 'f') frame[`write${bytes === 8 ? 'Double' : 'Float'}${order === 'be' ? 'BE' : 'LE'}`](half, bytes)
    else if (kind === 'u') frame.writeUInt8(64, 1)
    else if (order === 'be') frame.writeIntBE(half, bytes, bytes)
    else frame.writeIntLE(half, bytes, bytes)
    const [value] = channelOf(frame, { format, channels: 2, channel: 1, scale: 10 })
    assert.equal(value, -5, format)
  }
})

/** As the ABI describes it, bit by bit and from the other side: a number put into its place in a sample. */
function stored(value: number, type: string): Buffer {
  const { littleEndian, bits, storageBits, repeat, shift } = parseScanType(type)
  const noise = shift > 0 ? (1n << BigInt(shift)) - 1n : 0n
  const word = (BigInt.asUintN(bits, BigInt(value)) << BigInt(shift)) | noise
  const bytes = Array.from({ length: storageBits / 8 }, (_, i) => Number((word >> BigInt(8 * i)) & 0xffn))
  if (!littleEndian) bytes.reverse()
  return Buffer.concat(Array.from({ length: repeat }, () => Buffer.from(bytes)))
}

test('every storage format of the kernel reads what was stored in it', () => {
  const types = [
    's8/8',
    'u8/8',
    's12/16>>4',
    'u12/16',
    's16/16',
    'u16/16',
    's20/32>>12',
    's24/32>>8',
    'u24/32',
    's32/32',
  ]
  for (const form of [...types, 's48/64>>16', 's64/64', 's16/16X4', 'u10/16X2>>6']) {
    for (const order of ['le', 'be']) {
      const type = `${order}:${form}`
      const parsed = parseScanType(type)
      const largest = 2 ** Math.min(52, parsed.bits - (parsed.signed ? 1 : 0)) - 1
      for (const value of parsed.signed ? [0, 1, -1, largest, -largest] : [0, 1, largest])
        assert.equal(readRaw(stored(value, type), 0, parsed), BigInt(value), `${value} as ${type}`)
    }
  }
})

test('a type that is none is refused', () => {
  for (const type of ['', 'le:s16', 'xe:s16/16', 'le:s20/16', 'le:s12/16>>8', 'le:s12/24'])
    assert.throws(() => parseScanType(type), { code: 'SENSOR_FAILED' }, type)
})

test('each channel of a scan is aligned to its own size, and the scan to the largest', () => {
  const element = (name: string, index: number, type: string) => ({ name, index, ...parseScanType(type) })
  const { bytes, offsets } = layoutOf([
    element('timestamp', 3, 'le:s64/64'),
    element('accel_x', 0, 'le:s16/16'),
    element('voltage0', 1, 'le:u24/32>>8'),
    element('accel_z', 2, 'le:s8/8'),
  ])
  assert.deepEqual(
    [...offsets],
    [
      ['accel_x', 0],
      ['voltage0', 4],
      ['accel_z', 8],
      ['timestamp', 16],
    ],
  )
  assert.equal(bytes, 24)
})

test('a sensor of the kernel is set up, read in its unit with its tacho, and switched off', async t => {
  const tree = await IioTree.create(t, {
    ...scanElement('accel_x', 0, 'le:s16/16', true),
    ...scanElement('accel_z', 1, 'be:s12/16>>4'),
    ...scanElement('voltage0', 2, 'le:u10/16>>6'),
    ...scanElement('timestamp', 3, 'le:s64/64', true),
    in_accel_scale: '0.5',
    in_accel_z_offset: '-2',
    sampling_frequency: '100',
  })
  const scan = (i: number, ns: bigint) => {
    const bytes = Buffer.alloc(16)
    stored(-100 + (i % 7), 'be:s12/16>>4').copy(bytes, 2)
    stored(i % 20 < 10 ? 10 : 900, 'le:u10/16>>6').copy(bytes, 4)
    bytes.writeBigInt64LE(ns, 8)
    return bytes
  }
  // A second of the second window is missing.
  const nsOf = (i: number) => BigInt(i) * 1_000_000n + (i >= 1.5 * windowSamples ? 1_000_000_000n : 0n)
  const scans = Array.from({ length: 3 * windowSamples }, (_, i) => scan(i, nsOf(i)))
  const feed = (k: number) => tree.feed(Buffer.concat(scans.slice(k * windowSamples, (k + 1) * windowSamples)))
  const source = iio(tree, {
    device: 'iio:device0',
    tachoChannel: 'voltage0',
    tacho: { pulsesPerRevolution: 1 },
    trigger: 'hrtimer-1',
  })
  await feed(0)
  let enabled = ''
  const windows = await take(source, 3, async k => {
    enabled = await tree.attribute('buffer/enable')
    await feed(k)
  })
  assert.equal(enabled, '1')
  assert.equal(windows[0]!.window.samples[3], (-97 - 2) * 0.5)
  assert.ok(Math.abs(windows[0]!.window.shaftHz! - 50) < 0.01)
  assert.deepEqual(
    windows.map(({ gap }) => gap),
    [undefined, true, undefined],
  )
  assert.equal(await tree.attribute('buffer/enable'), '0')
  assert.equal(await tree.attribute('trigger/current_trigger'), 'hrtimer-1')
  assert.equal(await tree.attribute('scan_elements/in_accel_z_en'), '1')
  assert.equal(await tree.attribute('sampling_frequency'), '1000')
})

test('a sensor that is not there is named with those that are', async t => {
  const tree = await IioTree.create(t, scanElement('accel_z', 0, 'le:s16/16'))
  const missing = iio(tree, { device: 'adxl372' })
  await assert.rejects(take(missing, 1), { code: 'SENSOR_FAILED', message: /"adxl372".*iio:device0 \(adxl345\)/ })
  const nowhere = iio(tree, { sysfs: join(await temporaryDirectory(t), 'none') })
  await assert.rejects(take(nowhere, 1), { message: /there is none/ })
  await assert.rejects(take(iio(tree, { channel: 'accel_q' }), 1), { message: /scan_elements\/in_accel_q_en/ })
})

test('samples between two windows are passed over, and blocks may end anywhere', async () => {
  const live = new LiveWindows({ rateHz: 1_000, windowSamples: 4, intervalMs: 10 })
  const numbers = Float32Array.from({ length: 30 }, (_, i) => i)
  const taken: number[] = []
  const stopping = new AbortController()
  const done = (async () => {
    for await (const { window } of live.windows(stopping.signal)) taken.push(window.samples[0]!)
  })()
  for (let at = 0; at < 30; at += 3) {
    live.push({ samples: numbers.subarray(at, at + 3) })
    await new Promise(resolve => setImmediate(resolve))
  }
  stopping.abort()
  await done
  assert.deepEqual(taken, [0, 10, 20])
})

test('a shaft that stands still, and noise, have no speed', () => {
  assert.equal(shaftHzOf(new Float32Array(100), 1_000, { pulsesPerRevolution: 1 }), undefined)
  const one = Float32Array.from({ length: 100 }, (_, i) => (i < 50 ? 0 : 5 + (i % 2)))
  assert.equal(shaftHzOf(one, 1_000, { pulsesPerRevolution: 1 }), undefined)
})
