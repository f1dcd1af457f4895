import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { BearingSimulator, extractFeatures, Random, skf6205 } from '@faultline/inference'
import { augmented, drawnSamples } from '../../lab/data/augmentation.ts'
import { BearingData } from '../../lab/data/bearing-data.ts'
import { resample } from '../../lab/data/resample.ts'
import { simulatedWindows } from '../../lab/data/simulated-windows.ts'
import { COMMON_STEP, classNumbers, consecutiveWindows, randomWindows, rms } from '../../lab/data/windows.ts'
import { withCode } from '../inference/bundles.ts'
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

test('a window of a class that a model does not have is refused, with the recording it is from', () => {
  const windows = ['ball', 'loose-foot'].map(name => ({ class: name, origin: `rig-${name}` }))
  assert.deepEqual([...classNumbers(windows.slice(0, 1), ['normal', 'ball'])], [1])
  assert.throws(() => classNumbers(windows, ['normal', 'ball']), withCode('RECORDING_INVALID', /^rig-loose-foot: /))
})

test('every fault class gets as many training windows, normal gets more, and a seed repeats them', async t => {
  const data = await smallData(t)
  const parts = data.recordings.map(({ id, class: name }) => ({ recording: id, class: name }))
  const windows = await randomWindows(data, parts, 2_048, 10, new Random(4))
  const count = (name: string) => windows.filter(labelled => labelled.class === name).length
  assert.deepEqual(['normal', 'ball', 'inner-race', 'outer-race'].map(count), [20, 10, 10, 10])
  assert.deepEqual(await randomWindows(data, parts, 2_048, 10, new Random(4)), windows)
})

test('a varied window keeps its class and its orders, whatever speed, structure and bearing it is moved to', () => {
  const random = new Random(3)
  const length = drawnSamples(2_048)
  const impacts = { 'outer-race': 'bpfo', 'inner-race': 'bpfi', ball: 'bsf' } as const
  for (const fault of ['outer-race', 'inner-race', 'ball'] as const) {
    const simulator = new BearingSimulator({ rateHz: 12_000, shaftHz: 29, fault, seed: 5, impactG: 3, noiseG: 0.02 })
    const speeds = new Set<number>()
    let found = 0
    for (let i = 0; i < 40; i++) {
      const window = { samples: simulator.next(length), shape: [length], rateHz: 12_000, shaftHz: simulator.shaftHz }
      const varied = augmented({ window, class: fault, origin: 'simulated' }, 2_048, random)
      assert.equal(varied.class, fault)
      assert.equal(varied.window.samples.length, 2_048)
      assert.ok(varied.window.samples.every(Number.isFinite))
      speeds.add(Math.round(varied.window.shaftHz!))
      if (varied.bearing) assert.equal(varied.bearing[impacts[fault]], skf6205[impacts[fault]])
      const { bpfo1, bpfi1, bsf1 } = extractFeatures(varied.window, varied.bearing)
      const strongest = Math.max(bpfo1!, bpfi1!, bsf1!)
      if ({ 'outer-race': bpfo1, 'inner-race': bpfi1, ball: bsf1 }[fault] === strongest) found++
    }
    assert.ok(speeds.size > 5, `${fault}: ${speeds.size} speeds`)
    assert.ok(found > 30, `${fault}: still strongest in ${found} of 40`)
  }
})

test('machines are simulated with the bearing asked for, or with one each', () => {
  const signal = { samples: 512, rateHz: 12_000 }
  const distinct = (windows: ReturnType<typeof simulatedWindows>) => new Set(windows.map(({ bearing }) => bearing)).size
  assert.equal(distinct(simulatedWindows(24, signal, new Random(1), skf6205)), 1)
  // Six windows of each machine; normal has twice as many.
  assert.equal(distinct(simulatedWindows(24, signal, new Random(1))), (24 * 5) / 6)
})
