import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createSource, type Source, sourceConfig } from '@faultline/device-agent'
import { temporaryDirectory } from '../support/temp.ts'
import { testSource } from './source-suite.ts'

async function fileOf(t: TestContext, name: string, content: string): Promise<string> {
  const path = join(await temporaryDirectory(t), name)
  await writeFile(path, content)
  return path
}

const open = (file: string, more: object = {}): Promise<Source> =>
  createSource(sourceConfig.parse({ kind: 'file', file, loop: false, ...more }), { samples: 4, rateHz: 1_000 })

async function windowsOf(source: Source): Promise<number[][]> {
  const windows: number[][] = []
  for await (const { window } of source.windows(new AbortController().signal)) windows.push([...window.samples])
  return windows
}

testSource({
  name: 'file',
  create: async (intervalMs, t) => {
    const file = await fileOf(t, 'a.csv', Array.from({ length: 40 * 64 }, (_, i) => i).join('\n'))
    const config = sourceConfig.parse({ kind: 'file', file, speed: 64 / intervalMs })
    return createSource(config, { samples: 64, rateHz: 1_000 })
  },
})

test('a table with a gap in its times gives windows on both sides of it and none across', async t => {
  const times = [0, 1, 2, 3, 4, 5, 90, 91, 92, 93].map((ms, i) => `${ms / 1_000};${i}`)
  const file = await fileOf(t, 'a', ['time;accel', ...times].join('\n'))
  const slow = await open(file, { speed: 0.05, scale: 2 })
  assert.deepEqual(await windowsOf(slow), [
    [0, 2, 4, 6],
    [12, 14, 16, 18],
  ])
  const gappy = await fileOf(t, 'b', 'time;accel\n0,000;1\n0,001;2\n0,002;3\n0,090;4\n0,091;5\n0,092;6')
  await assert.rejects(open(gappy), { code: 'RECORDING_INVALID', message: /window of 4 without a gap/ })
})

test('snapshots that are shorter than a window are joined only where that is said', async t => {
  const run = join(await temporaryDirectory(t), 'run')
  await mkdir(run)
  for (const [name, rows] of Object.entries({ '10.csv': '5\n6', '9.csv': '3\n4', '2.csv': '1\n2' }))
    await writeFile(join(run, name), rows)
  await assert.rejects(open(run), { code: 'RECORDING_INVALID', message: /window of 4 without a gap/ })
  assert.deepEqual(await windowsOf(await open(run, { speed: 0.05, acrossGaps: true })), [[1, 2, 3, 4]])
  await assert.rejects(open(join(run, '?*.csv')), { code: 'RECORDING_UNREADABLE' })
})

test('a table whose times say another rate is brought to that of the model, and a rate stated against them is refused', async t => {
  const rows = Array.from({ length: 25_600 }, (_, i) => {
    const s = i / 25_600
    return `${s.toFixed(8)},${Math.sin(2 * Math.PI * 50 * s).toFixed(6)}`
  })
  const file = await fileOf(t, 'a.csv', ['time,accel', ...rows].join('\n'))
  const source = await createSource(sourceConfig.parse({ kind: 'file', file, from: 2_560 }), {
    samples: 200,
    rateHz: 1_000,
  })
  for await (const { window } of source.windows(new AbortController().signal)) {
    // Ten periods of 20 samples in the middle of the recording.
    for (const [i, value] of window.samples.subarray(60, 140).entries())
      assert.ok(Math.abs(value - Math.sin((Math.PI * i) / 10)) < 0.02, `${i}: ${value}`)
    break
  }
  await assert.rejects(open(file, { rateHz: 12_000 }), {
    code: 'RECORDING_INVALID',
    message: /25600 Hz.*12000 Hz/,
  })
})

test('a unit in the head of a table counts where the configuration states none', async t => {
  const file = await fileOf(t, 'a.csv', 'accel (m/s²)\n9.80665\n19.6133\n0\n-9.80665')
  const rounded = async (more: object) =>
    (await windowsOf(await open(file, { speed: 0.05, ...more }))).map(window =>
      window.map(value => Number(value.toFixed(4))),
    )
  assert.deepEqual(await rounded({}), [[1, 2, 0, -1]])
  assert.deepEqual(await rounded({ unit: 'g' }), [[9.8067, 19.6133, 0, -9.8067]])
})
