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

test('a table whose times say another rate than the model wants is refused with both', async t => {
  const rows = Array.from({ length: 40 }, (_, i) => `${(i / 25_600).toFixed(8)},${i}`)
  const file = await fileOf(t, 'a.csv', ['time,accel', ...rows].join('\n'))
  await assert.rejects(open(file), { code: 'RECORDING_INVALID', message: /25600 Hz.*1000 Hz/ })
})
