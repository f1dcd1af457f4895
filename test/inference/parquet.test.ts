import assert from 'node:assert/strict'
import { cp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openDataset } from '@faultline/inference'
import { temporaryDirectory } from '../support/temp.ts'

/** Written by pyarrow as the package does: Zstandard, a row for each signal, a file for each type of number. */
const fixture = join(import.meta.dirname, 'fixtures', 'bearing-datasets')
const ramp = Array.from({ length: 64 }, (_, i) => i / 64)

test('the vibrations of a set of the Python package bearing-datasets are recordings', async () => {
  const { recordings } = await openDataset(fixture)
  assert.deepEqual(
    recordings.map(({ id, class: label, rateHz, samples, unit }) => [id, label, rateHz, samples, unit]),
    [
      ['a/de', 'normal', 25_600, 64, 'm/s2'],
      ['a/fe', 'normal', 25_600, 64, 'm/s2'],
      ['b/de', 'ball', 25_600, 64, 'g'],
      ['b/fe', 'inner+outer', 25_600, 32, 'g'],
      ['c/de', 'unlabelled', 51_200, 64, 'counts'],
    ],
  )
  const { shaftHz, bearingName, bearing, group, run } = recordings[2]!
  assert.deepEqual(
    { shaftHz, bearingName, bearing, group, run },
    {
      shaftHz: 25,
      bearingName: '6205-2RS',
      bearing: { bpfo: 3.585, bpfi: 5.415, bsf: 2.357, ftf: 0.398 },
      group: 'b',
      run: 'b',
    },
  )
})

test('each signal is read from its row group, whatever its type', async () => {
  const dataset = await openDataset(fixture)
  assert.deepEqual([...(await dataset.read('a/de'))], ramp)
  assert.deepEqual(
    [...(await dataset.read('a/fe'))],
    ramp.map(value => -value),
  )
  assert.deepEqual(
    [...(await dataset.read('b/de'))],
    ramp.map(value => 2 * value),
  )
  assert.equal((await dataset.read('b/fe')).length, 32)
  const { samples, unit } = await dataset.signal('c/de')
  assert.deepEqual([samples[63], unit], [63, 'counts'])
  await assert.rejects(dataset.read('a/speed'), { code: 'RECORDING_UNREADABLE' })
})

test('a set that is damaged or lacks its signals is refused', async t => {
  const directory = await temporaryDirectory(t)
  await cp(fixture, directory, { recursive: true })
  const part = join(directory, 'signals', 'part-float32.parquet')
  await writeFile(part, 'no')
  await assert.rejects((await openDataset(directory)).read('a/de'), {
    code: 'RECORDING_INVALID',
    message: /part-float32/,
  })
  await rm(part)
  await assert.rejects((await openDataset(directory)).read('a/de'), { code: 'RECORDING_UNREADABLE' })
  await writeFile(join(directory, 'metadata.parquet'), 'no')
  await assert.rejects(openDataset(directory), { code: 'RECORDING_INVALID', message: /metadata\.parquet/ })
})
