import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { FaultlineError } from '@faultline/protocol'
import fc from 'fast-check'
import { cwruTable } from '../../inference/recordings/cwru-table.ts'
import { openDataset } from '../../inference/recordings/index.ts'
import { readMat } from '../../inference/recordings/mat.ts'
import { temporaryDirectory } from '../support/temp.ts'

const fixtures = join(import.meta.dirname, 'fixtures')
const expected = Float32Array.from({ length: 64 }, (_, i) => ((i % 9) - 4) / 4)

const withCode = (code: string) => (error: unknown) => {
  assert.ok(error instanceof FaultlineError, String(error))
  assert.equal(error.code, code)
  return true
}

for (const name of ['plain.mat', 'compressed.mat']) {
  test(`${name} gives its real numeric arrays and passes over text and complex ones`, async () => {
    const arrays = readMat(await readFile(join(fixtures, name)))
    assert.deepEqual(Float32Array.from(arrays.get('X105_DE_time')!.values), expected)
    assert.deepEqual([...arrays.get('X105RPM')!.values], [1797])
    assert.deepEqual([...arrays.get('tiny')!.values], [1, 2, 3])
    assert.equal(arrays.has('note'), false)
    assert.equal(arrays.has('z'), false)
  })

  test(`${name} cut anywhere inside an element is refused with a code`, async () => {
    const whole = await readFile(join(fixtures, name))
    for (let length = 0; length < whole.length; length++) {
      try {
        const arrays = readMat(whole.subarray(0, length))
        // A cut exactly between two elements leaves a shorter, well-formed file.
        assert.ok(arrays.size < 5, `cut at ${length}`)
      } catch (error) {
        withCode('RECORDING_INVALID')(error)
      }
    }
  })

  test(`${name} with any bytes damaged gives arrays or a coded error, never another throw`, async () => {
    const whole = await readFile(join(fixtures, name))
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(damage, places => {
        const bytes = new Uint8Array(whole)
        for (const [at, value] of places) bytes[at] = value
        try {
          readMat(bytes)
        } catch (error) {
          withCode('RECORDING_INVALID')(error)
        }
      }),
      { numRuns: 300 },
    )
  })
}

test('a version 7.3 file is refused with a hint', async () => {
  const bytes = new Uint8Array(await readFile(join(fixtures, 'plain.mat')))
  bytes[124] = 0
  bytes[125] = 2
  assert.throws(() => readMat(bytes), /-v7/)
})

test('a directory of original CWRU files is a data set', async t => {
  const directory = await temporaryDirectory(t)
  await copyFile(join(fixtures, 'compressed.mat'), join(directory, '105.mat'))
  await copyFile(join(fixtures, 'plain.mat'), join(directory, '3004.mat'))
  await copyFile(join(fixtures, 'plain.mat'), join(directory, '9999.mat'))
  const dataset = await openDataset(directory)
  assert.deepEqual(
    dataset.recordings.map(({ id, class: label, loadHp, rateHz, samples }) => ({ id, label, loadHp, rateHz, samples })),
    [
      { id: '105', label: 'inner-race', loadHp: 0, rateHz: 12_000, samples: 64 },
      { id: '3004', label: 'inner-race', loadHp: 3, rateHz: 12_000, samples: 64 },
    ],
  )
  assert.equal(dataset.recordings[0]!.shaftHz, 1797 / 60)
  assert.deepEqual(await dataset.read('105'), expected)
  await assert.rejects(dataset.read('106'), withCode('RECORDING_UNREADABLE'))
})

test('the CWRU table has 64 recordings, the sound ones at 48 kHz', () => {
  assert.equal(cwruTable.size, 64)
  assert.equal(cwruTable.get(97)!.rateHz, 48_000)
  assert.deepEqual(cwruTable.get(158), {
    class: 'outer-race',
    diameterInch: 0.007,
    loadHp: 1,
    position: '@12',
    rateHz: 12_000,
  })
})

const bytesOf = (values: number[]) => {
  const bytes = Buffer.alloc(values.length * 4)
  for (const [i, value] of values.entries()) bytes.writeFloatLE(value, i * 4)
  return bytes
}
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const entryFor = (file: string, values: number[], more: Record<string, unknown> = {}) => ({
  file,
  class: 'inner',
  samplingRateHz: 12_000,
  samples: values.length,
  sha256: sha256(bytesOf(values)),
  rpm: 1800,
  loadHp: 0,
  faultDiameterInch: 0.007,
  ...more,
})

async function manifestDirectory(t: Parameters<typeof temporaryDirectory>[0], entries: unknown[]) {
  const directory = await temporaryDirectory(t)
  await writeFile(join(directory, 'manifest.json'), JSON.stringify(entries))
  await writeFile(join(directory, 'a.f32'), bytesOf([1, 2, 3]))
  return directory
}

test('a manifest maps classes, speeds and groups, and reads samples', async t => {
  const directory = await manifestDirectory(t, [
    entryFor('a.f32', [1, 2, 3]),
    entryFor('b.f32', [1], { class: 'normal', rpm: null, loadHp: 2, faultDiameterInch: 0, recordingGroup: 'run' }),
  ])
  const dataset = await openDataset(directory)
  const [a, b] = dataset.recordings
  assert.deepEqual(a, {
    id: 'a',
    class: 'inner-race',
    rateHz: 12_000,
    samples: 3,
    shaftHz: 30,
    loadHp: 0,
    diameterInch: 0.007,
    group: 'a',
  })
  assert.deepEqual(b, {
    id: 'b',
    class: 'normal',
    rateHz: 12_000,
    samples: 1,
    shaftHz: 1750 / 60,
    shaftEstimated: true,
    loadHp: 2,
    group: 'run',
  })
  assert.deepEqual(await dataset.read('a'), Float32Array.of(1, 2, 3))
})

test('opening a data set reads no samples, so a missing file is reported by the read that needs it', async t => {
  const dataset = await openDataset(await manifestDirectory(t, [entryFor('gone.f32', [1])]))
  await assert.rejects(dataset.read('gone'), withCode('RECORDING_UNREADABLE'))
})

test('a recording with the wrong length, digest or values is refused', async t => {
  const wrong: [string, unknown][] = [
    ['length', entryFor('a.f32', [1, 2, 3], { samples: 4 })],
    ['digest', entryFor('a.f32', [1, 2, 4])],
  ]
  for (const [what, entry] of wrong) {
    const dataset = await openDataset(await manifestDirectory(t, [entry]))
    await assert.rejects(dataset.read('a'), withCode('RECORDING_INVALID'), what)
  }
  const infinite = [1, Number.POSITIVE_INFINITY]
  const directory = await manifestDirectory(t, [entryFor('a.f32', infinite)])
  await writeFile(join(directory, 'a.f32'), bytesOf(infinite))
  await assert.rejects((await openDataset(directory)).read('a'), withCode('RECORDING_INVALID'))
})

test('a manifest that leaves its directory, names no class or is no JSON is refused', async t => {
  for (const entry of [entryFor('../a.f32', [1]), entryFor('a.f32', [1], { class: '' })])
    await assert.rejects(openDataset(await manifestDirectory(t, [entry])), withCode('RECORDING_INVALID'))
  const directory = await temporaryDirectory(t)
  await writeFile(join(directory, 'manifest.json'), '{')
  await assert.rejects(openDataset(directory), withCode('RECORDING_INVALID'))
})

test('a manifest may name the classes of any model, and the bearing of each recording', async t => {
  const bearing = { bpfo: 3.05, bpfi: 4.95, bsf: 1.99, ftf: 0.38 }
  const entries = [entryFor('a.f32', [1], { class: 'loose-foot', bearing }), entryFor('b.f32', [1], { class: 'inner' })]
  const { recordings } = await openDataset(await manifestDirectory(t, entries))
  assert.deepEqual(
    recordings.map(recording => [recording.class, recording.bearing]),
    [
      ['loose-foot', bearing],
      ['inner-race', undefined],
    ],
  )
})

test('a directory without recordings is not a data set', async t => {
  const directory = await temporaryDirectory(t)
  await assert.rejects(openDataset(directory), withCode('RECORDING_UNREADABLE'))
  await assert.rejects(openDataset(join(directory, 'none')), withCode('RECORDING_UNREADABLE'))
  await mkdir(join(directory, 'mat'))
  await writeFile(join(directory, 'mat', 'other.mat'), '')
  await assert.rejects(openDataset(join(directory, 'mat')), withCode('RECORDING_UNREADABLE'))
})
