import assert from 'node:assert/strict'
import { readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createSource, type Source, type SourceWindow, sourceConfig } from '@faultline/device-agent'
import { extractFeatures, timeFeatures } from '@faultline/inference'
import { IioSource } from '../../device-agent/sources/iio/iio.ts'
import { dataDirectory, missingData } from '../support/data.ts'
import { IioTree, scanElement } from '../support/iio-tree.ts'
import { temporaryDirectory } from '../support/temp.ts'

const input = { samples: 2_048, rateHz: 12_000 }

async function first(source: Source): Promise<SourceWindow> {
  const stopping = new AbortController()
  const windows: SourceWindow[] = []
  for await (const window of source.windows(stopping.signal)) if (windows.push(window) === 1) stopping.abort()
  return windows[0]!
}

/** 100 Hz with an amplitude of 1 m/s², whose velocity is 1.125 mm/s RMS. */
const sineAt = (rateHz: number, factor: number) =>
  Array.from({ length: rateHz }, (_, i) => factor * Math.sin((2 * Math.PI * 100 * i) / rateHz))

async function fileOf(t: TestContext, values: readonly number[]): Promise<string> {
  const path = join(await temporaryDirectory(t), 'sine.csv')
  await writeFile(path, `accel\n${values.map(value => value.toFixed(9)).join('\n')}\n`)
  return path
}

const inG = 1 / 9.80665
const units: [stated: Record<string, unknown>, factor: number][] = [
  [{ unit: 'm/s2' }, 1],
  [{ unit: 'g' }, inG],
  [{ unit: 'V', sensitivityMvPerG: 100 }, inG / 10],
  [{}, inG],
]

for (const [stated, factor] of units) {
  for (const rateHz of [12_000, 25_600, 51_200]) {
    test(`a velocity is the same at ${rateHz} Hz with ${JSON.stringify(stated)}`, async t => {
      const file = await fileOf(t, sineAt(rateHz, factor))
      const { window } = await first(
        await createSource(sourceConfig.parse({ kind: 'file', file, rateHz, ...stated }), input),
      )
      const { velocityRms } = extractFeatures(window)
      assert.ok(Math.abs(velocityRms! / 1.125 - 1) < 0.02, `${velocityRms} mm/s`)
    })
  }
}

test('lines of a program are read in their unit and at their rate', async () => {
  const script = `
    console.log('booting, please wait\\ntime;accel')
    for (let i = 0; i < 8000; i++) console.log((i / 25600).toFixed(6).replace('.', ',') + ';' + Math.sin(2 * Math.PI * 100 * i / 25600).toFixed(6).replace('.', ','))
    setInterval(() => {}, 1000)`
  const command = [process.execPath, '-e', script]
  const config = { kind: 'command', command, format: 'csv', column: 'accel', unit: 'm/s2', rateHz: 25_600 }
  const { window, gap } = await first(await createSource(sourceConfig.parse(config), input))
  assert.equal(gap, undefined)
  assert.ok(Math.abs(extractFeatures(window).velocityRms! / 1.125 - 1) < 0.02)
})

test('a sensor of the kernel gives g out of m/s², at the next rate that its driver has', async t => {
  const tree = await IioTree.create(t, {
    ...scanElement('accel_z', 0, 'le:s16/16'),
    in_accel_scale: '0.001',
    sampling_frequency: '25600',
    sampling_frequency_available: '3200 6400 12800 25600',
  })
  const source = new IioSource({
    device: 'adxl345',
    channel: 'accel_z',
    gPerUnit: inG,
    ...input,
    windowSamples: input.samples,
    intervalMs: 1,
    sysfs: tree.sysfs,
    dev: tree.dev,
  })
  const samples = Int16Array.from(sineAt(12_800, 1_000).slice(0, 4_000), Math.round)
  await tree.feed(Buffer.from(samples.buffer))
  const { window } = await first(source)
  assert.equal(await tree.attribute('sampling_frequency'), '12800')
  assert.ok(Math.abs(extractFeatures(window).velocityRms! / 1.125 - 1) < 0.02)
})

test('what is assumed is said', async t => {
  const file = await fileOf(t, sineAt(12_000, 1))
  const said: string[] = []
  const make = (config: unknown) => createSource(sourceConfig.parse(config), input, [], text => said.push(text))
  await make({ kind: 'file', file, unit: 'g' })
  assert.deepEqual(said.splice(0), [])
  await make({ kind: 'file', file })
  assert.deepEqual(said.splice(0), ['no unit: taken as g'])
  await make({ kind: 'command', command: ['true'], format: 's16le' })
  assert.deepEqual(said.splice(0), ['no unit: taken as g', 'no rateHz: taken as the 12000 Hz of the model'])
  await make({ kind: 'iio', device: 'ads8688', channel: 'voltage0' })
  assert.deepEqual(said.splice(0), ['voltage0 is in mV, without sensitivityMvPerG: taken as g'])
})

test('a unit that cannot be converted is refused, and volts without a sensitivity', () => {
  const refused = (stated: Record<string, unknown>, says: RegExp) => {
    const { error } = sourceConfig.safeParse({ kind: 'file', file: 'a.csv', ...stated })
    assert.match(error?.message ?? '', says)
  }
  refused({ unit: 'mm/s' }, /mm\/s: velocity and displacement are not converted/)
  refused({ unit: 'um' }, /um: velocity and displacement are not converted/)
  refused({ unit: 'furlong' }, /must be one of g, m\/s2, V/)
  refused({ unit: 'V' }, /unit: V, which needs it/)
  refused({ unit: 'g', sensitivityMvPerG: 100 }, /unit: V, which needs it/)
})

test('a source too slow for the band of the model is refused with both rates and the ways out', async () => {
  const config = { kind: 'command', command: ['adxl345'], format: 's16le', rateHz: 3_200 }
  await assert.rejects(createSource(sourceConfig.parse(config), input), {
    code: 'CONFIG_INVALID',
    message: /3200 Hz, which holds nothing above 1600 Hz; the model takes 12000 Hz.*window: \{ rateHz: 3200 \}/,
  })
})

for (const [set, recording] of [
  ['hit-mfs', 'IR2_1200'],
  ['uestc', 'B_1200_1'],
  ['femto', 'Bearing1_1'],
] as const) {
  test(`${set} plays at its own rate to a model of 12 kHz`, { skip: missingData(set) }, async t => {
    const directory = await temporaryDirectory(t)
    const manifest = await readFile(join(dataDirectory, set, 'manifest.json'), 'utf8')
    const entry = (JSON.parse(manifest) as { file: string }[]).find(({ file }) => file === `${recording}.f32`)!
    // Of their manifests, some name the bearing otherwise and no class.
    await writeFile(join(directory, 'manifest.json'), JSON.stringify([{ ...entry, class: 'any', bearing: null }]))
    await symlink(join(dataDirectory, set, entry.file), join(directory, entry.file))
    const source = await createSource(
      sourceConfig.parse({ kind: 'replay', directory, recording, acrossGaps: true, to: 20_000 }),
      input,
    )
    const { window } = await first(source)
    assert.deepEqual([source.rateHz, window.samples.length], [12_000, 2_048])
    assert.ok(timeFeatures(window.samples).rms > 1e-4)
  })
}
