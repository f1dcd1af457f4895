import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RecordingInfo } from '@faultline/inference'
import { assertSeparate, comparedDiameters, leaveDiameterOut, splitByLoad } from '../../lab/splits.ts'

const fault = (id: string, loadHp: number, diameterInch: number, name: RecordingInfo['class']): RecordingInfo => ({
  id,
  class: name,
  rateHz: 12_000,
  samples: 120_000,
  loadHp,
  diameterInch,
  group: id,
})
const sound = (id: string, loadHp: number): RecordingInfo => ({
  id,
  class: 'normal',
  rateHz: 12_000,
  samples: 60_985,
  loadHp,
  group: id,
})
const faults = [0, 1, 2, 3].flatMap(load =>
  [...comparedDiameters, 0.028].flatMap(size =>
    (['ball', 'inner-race', 'outer-race'] as const).map(name => fault(`${name}-${size}-${load}`, load, size, name)),
  ),
)
const cwru = [...faults, sound('normal', 0)]

test('every recording is on one side only, and the one cut in time has gaps of a second', () => {
  const split = splitByLoad(cwru)
  assertSeparate(split, cwru)
  const seen = [...split.train, ...split.validation, ...split.test].map(part => part.recording)
  assert.deepEqual(
    seen.filter((id, i) => seen.indexOf(id) !== i),
    ['normal', 'normal'],
  )
  const [train, validation, check] = [split.train, split.validation, split.test].map(
    parts => parts.find(part => part.class === 'normal')!,
  )
  assert.equal(train!.from, 0)
  assert.ok(validation!.from! - train!.to! >= 12_000)
  assert.ok(check!.from! - validation!.to! >= 12_000)
  assert.ok(check!.to! - check!.from! >= 5 * 2048)
})

test('loads 0 and 1 train, load 2 chooses, load 3 tests', () => {
  const split = splitByLoad(cwru)
  const loads = (side: keyof typeof split) =>
    new Set(split[side].filter(part => part.class !== 'normal').map(part => part.recording.at(-1)))
  assert.deepEqual(loads('train'), new Set(['0', '1']))
  assert.deepEqual(loads('validation'), new Set(['2']))
  assert.deepEqual(loads('test'), new Set(['3']))
})

test('a sound bearing recorded at every load is split by load, not in time', () => {
  const recordings = [...faults, ...[0, 1, 2, 3].map(load => sound(`normal-${load}`, load))]
  const split = splitByLoad(recordings)
  assertSeparate(split, recordings)
  assert.ok([...split.train, ...split.validation, ...split.test].every(part => part.from === undefined))
})

test('no recording of the diameter left out is trained on', () => {
  const split = leaveDiameterOut(cwru, 0.014, splitByLoad(cwru))
  assertSeparate(split, cwru)
  assert.ok(split.train.every(part => !part.recording.includes('0.014') && !part.recording.includes('0.028')))
  assert.ok(split.test.every(part => part.class === 'normal' || part.recording.includes('0.014')))
})

test('a split that shares samples, or parts of one run, is refused', () => {
  const recordings = [sound('a', 0), { ...sound('b', 0), group: 'a' }]
  const part = (recording: string, from?: number, to?: number) => ({ recording, class: 'normal', from, to })
  const split = (train: ReturnType<typeof part>, check: ReturnType<typeof part>) => ({
    train: [train],
    validation: [],
    test: [check],
  })
  assert.throws(() => assertSeparate(split(part('a'), part('a')), recordings), /two sides/)
  assert.throws(() => assertSeparate(split(part('a', 0, 100), part('a', 200, 300)), recordings), /two sides/)
  assert.throws(() => assertSeparate(split(part('a'), part('b')), recordings), /two sides/)
  assert.doesNotThrow(() => assertSeparate(split(part('a', 0, 100), part('a', 13_000, 14_000)), recordings))
})

test('a data set without one class on each side is refused', () => {
  assert.throws(
    () => splitByLoad(cwru.filter(recording => !(recording.class === 'ball' && recording.loadHp === 3))),
    /test side has no recording of class "ball"/,
  )
  assert.throws(() => splitByLoad(faults), /sound bearing/)
})
