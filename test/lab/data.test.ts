import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Random } from '@faultline/inference'
import { BearingData } from '../../lab/data/bearing-data.ts'
import { resample } from '../../lab/data/resample.ts'
import { augmented, COMMON_STEP, consecutiveWindows, randomWindows, rms } from '../../lab/data/windows.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { writeSmallDataset } from './support.ts'

const sine = (hz: number, rateHz: number, length: number) =>
  Float32Array.from({ length }, (_, i) => Math.sin((2 * Math.PI * hz * i) / rateHz))

test('decimation keeps what lies below the new Nyquist frequency and removes what would fold', () => {
  const kept = resample(sine(3_000, 48_000, 8_192), 1, 4)
  assert.equal(kept.length, 2_048)
  const expected = sine(3_000, 12_000, 2_048)
  for (let i = 100; i < 1_948; i++) assert.ok(Math.abs(kept[i]! - expected[i]!) < 0.01)
  assert.ok(rms(resample(sine(8_000, 48_000, 8_192), 1, 4).subarray(100, 1_948)) < 0.005)
})

async function smallData(t: Parameters<typeof temporaryDirectory>[0]) {
  const root = await temporaryDirectory(t)
  await mkdir(join(root, 'cwru'))
  await writeSmallDataset(join(root, 'cwru'))
  return BearingData.open(root, 12_000)
}

test('the root of the data works as well as the set in it', async t => {
  const data = await smallData(t)
  assert.equal(data.recordings.length, 37)
  assert.equal((await data.read('ball-0.007-0')).length, 12_000)
})

test('windows stay within their part, on the common grid, and need not overlap', async t => {
  const data = await smallData(t)
  const part = { recording: 'normal-0-0', class: 'normal', from: 1_000, to: 12_000 }
  const windows = await consecutiveWindows(data, [part], 2_048, 2_048, new Random(1))
  assert.equal(windows.length, 5)
  const samples = await data.read('normal-0-0')
  for (const [i, { window, origin }] of windows.entries()) {
    assert.equal(origin, 'normal-0-0')
    assert.equal(window.shaftHz, 1797 / 60)
    for (const [k, x] of window.samples.entries()) {
      assert.ok(Math.abs(x - samples[1_000 + i * 2_048 + k]!) <= COMMON_STEP + 1e-6)
      assert.ok(Math.abs(x / COMMON_STEP - Math.round(x / COMMON_STEP)) < 1e-3)
    }
  }
})

test('every fault class gets as many training windows, normal gets more, and a seed repeats them', async t => {
  const data = await smallData(t)
  const parts = data.recordings.map(({ id, class: name }) => ({ recording: id, class: name }))
  const windows = await randomWindows(data, parts, 2_048, 10, new Random(4))
  const count = (name: string) => windows.filter(labelled => labelled.class === name).length
  assert.deepEqual(['normal', 'ball', 'inner-race', 'outer-race'].map(count), [20, 10, 10, 10])
  assert.deepEqual(await randomWindows(data, parts, 2_048, 10, new Random(4)), windows)
  const varied = augmented(windows[0]!, new Random(1))
  assert.equal(varied.class, 'normal')
  assert.notDeepEqual(varied.window.samples, windows[0]!.window.samples)
})
