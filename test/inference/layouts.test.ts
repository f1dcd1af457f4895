import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Dataset, describeDirectory, openDataset, readRecordingFile } from '@faultline/inference'
import { dataDirectory, missingData } from '../support/data.ts'
import { temporaryDirectory } from '../support/temp.ts'

/** Files as they are published, with few rows. */
async function tree(t: TestContext, files: Record<string, string[]>): Promise<string> {
  const directory = await temporaryDirectory(t)
  for (const [path, rows] of Object.entries(files)) {
    await mkdir(dirname(join(directory, path)), { recursive: true })
    await writeFile(join(directory, path), `${rows.join('\n')}\n`)
  }
  return directory
}

const rows = <T>(row: (i: number) => T, count = 32): T[] => Array.from({ length: count }, (_, i) => row(i))

async function described(directory: string, options = {}): Promise<{ dataset: Dataset; guesses: string[] }> {
  const { entries, guesses } = await describeDirectory(directory, options)
  await writeFile(join(directory, 'manifest.json'), JSON.stringify(entries))
  return { dataset: await openDataset(directory), guesses }
}

const infoOf = ({ recordings }: Dataset, id: string) => {
  const found = recordings.find(recording => recording.id === id)
  assert.ok(found, `${id} is not among ${recordings.map(recording => recording.id).join(', ')}`)
  return found
}

test('a run of IMS is played in the order of its names, with a gap between snapshots', async t => {
  const snapshot = (base: number) =>
    rows(i => [1, 2, 3, 4].map(bearing => ((base + i) * bearing).toFixed(3)).join('\t'))
  const directory = await tree(t, {
    '2nd_test/2004.02.12.10.42.39': snapshot(100),
    '2nd_test/2004.02.12.10.32.39': snapshot(0),
    '2nd_test/2004.02.12.10.52.39': snapshot(200),
    'Readme Document for IMS Bearing Data.pdf': ['%PDF'],
  })
  const { dataset, guesses } = await described(directory)
  const third = infoOf(dataset, '2nd_test-2')
  const { rateHz, samples, snapshotSamples, snapshotIntervalS, run, shaftHz, group } = third
  assert.deepEqual(
    { rateHz, samples, snapshotSamples, snapshotIntervalS, run, group },
    { rateHz: 20_480, samples: 96, snapshotSamples: 32, snapshotIntervalS: 600, run: '2nd_test', group: '2nd_test' },
  )
  assert.equal(Math.round(shaftHz! * 60), 2000)
  assert.equal(dataset.recordings.length, 4)
  const signal = await dataset.signal(third.id)
  assert.deepEqual(
    [...signal.samples].filter((_, i) => i % 32 === 1),
    [3, 303, 603],
  )
  assert.deepEqual(signal.gaps, [32, 64])
  assert.ok(
    guesses.some(guess => /IMS.*20480 Hz.*2 bearing3/.test(guess)),
    guesses.join('\n'),
  )
  const eight = await tree(t, { '2003.10.22.12.06.24': rows(() => rows(i => i, 8).join('\t')) })
  assert.equal((await described(eight)).dataset.recordings.length, 8)
})

test('a bearing of FEMTO has the rate of its clock, the speed of its condition, and leaves out the temperature', async t => {
  const snapshot = (second: number, separator: string) =>
    rows(i => [9, 39, second, Math.floor(65_664 + i * 39.0625), i / 10, -i / 10].join(separator), 256)
  const directory = await tree(t, {
    'Bearing2_1/acc_00001.csv': snapshot(39, ','),
    'Bearing2_1/acc_00002.csv': snapshot(49, ';'),
    'Bearing2_1/temp_00001.csv': rows(i => `9,39,39,${i % 10},70.5`),
  })
  const { dataset } = await described(directory, { column: 'vertical' })
  const vertical = infoOf(dataset, 'Bearing2_1-5')
  const { rateHz, samples, snapshotSamples, snapshotIntervalS, shaftHz, unit, run } = vertical
  assert.deepEqual(
    { rateHz, samples, snapshotSamples, snapshotIntervalS, shaftHz, unit, run },
    {
      rateHz: 25_600,
      samples: 512,
      snapshotSamples: 256,
      snapshotIntervalS: 10,
      shaftHz: 1650 / 60,
      unit: 'g',
      run: 'Bearing2_1',
    },
  )
  assert.deepEqual([...(await dataset.read(vertical.id)).slice(255, 258)], [-25.5, 0, Math.fround(-0.1)])
})

test('a bearing of XJTU-SY is played in the order of its numbers', async t => {
  const head = 'Horizontal_vibration_signals,Vertical_vibration_signals'
  const snapshot = (value: number) => [head, ...rows(() => `${value},${-value}`)]
  const directory = await tree(t, {
    '35Hz12kN/Bearing1_1/10.csv': snapshot(10),
    '35Hz12kN/Bearing1_1/9.csv': snapshot(9),
    '35Hz12kN/Bearing1_1/1.csv': snapshot(1),
  })
  const { dataset } = await described(directory)
  const horizontal = infoOf(dataset, '35Hz12kN-Bearing1_1-0')
  assert.deepEqual([horizontal.rateHz, horizontal.shaftHz, horizontal.snapshotIntervalS], [25_600, 35, 60])
  const samples = [...(await dataset.read(horizontal.id))]
  assert.deepEqual([samples[0], samples[32], samples[64]], [1, 9, 10])
})

test('a file of MaFaulDa gives its accelerometers, not the tacho, and the class and speed that its path has', async t => {
  const directory = await tree(t, {
    'imbalance/6g/13.5168.csv': rows(i => rows(column => (column * 10 + (i % 5) / 100).toFixed(4), 8).join(',')),
    'normal/12.288.csv': rows(i => rows(column => (column + (i % 5) / 100).toFixed(4), 8).join(',')),
  })
  const { dataset } = await described(directory)
  assert.equal(dataset.recordings.length, 12)
  const first = infoOf(dataset, 'imbalance-6g-13.5168-1')
  assert.deepEqual([first.class, first.rateHz, first.unit], ['unbalance', 50_000, 'V'])
  assert.ok(Math.abs(first.shaftHz! - 13.5168) < 1e-9)
  assert.equal(infoOf(dataset, 'normal-12.288-6').class, 'normal')
})

test('files of no known layout are described by what is in them and in their names', async t => {
  const directory = await tree(t, {
    'pump3/OR_1.txt': ['t;x (m/s²);y (m/s²)', ...rows(i => `${i / 1_000};${i};${-i}`)],
    'pump3/healthy.txt': ['t;x (m/s²);y (m/s²)', ...rows(i => `${i / 1_000};0;${i}`)],
    'notes.txt': ['nothing but words'],
  })
  const { entries, passedOver } = await describeDirectory(directory, { rpm: 1480 })
  assert.deepEqual(entries[0], {
    file: 'pump3/healthy.txt',
    column: 1,
    class: 'normal',
    rpm: 1480,
    samplingRateHz: 1_000,
    samples: 32,
    unit: 'm/s2',
    recordingGroup: 'pump3/healthy.txt',
  })
  assert.equal(entries.length, 4)
  assert.match(passedOver.join(), /notes\.txt/)
  const rateless = await tree(t, { 'a.csv': ['x', '1.5', '2.5'] })
  await assert.rejects(describeDirectory(rateless), { code: 'RECORDING_INVALID', message: /a\.csv.*--rate-hz/ })
  assert.equal((await describeDirectory(rateless, { rateHz: 500 })).entries[0]!.samplingRateHz, 500)
})

test('a manifest may be a table, and says the rate of files that do not', async t => {
  const directory = await tree(t, {
    'a.csv': ['x;y', ...rows(i => `${i},5;2,5`)],
    'manifest.csv': [
      'file;column;class;rpm;samplingRateHz;samples;machine;run;part',
      'a.csv;x;inner;1500;8000;32;7;2;1',
    ],
  })
  const dataset = await openDataset(directory)
  assert.deepEqual(dataset.recordings, [
    {
      id: 'a-x',
      class: 'inner-race',
      rateHz: 8_000,
      samples: 32,
      group: 'a-x',
      machine: '7',
      run: '2',
      part: 1,
      shaftHz: 25,
    },
  ])
  assert.equal((await dataset.read('a-x'))[1], 1.5)
})

test('snapshots of different rates are not one run', async t => {
  const at = (rateHz: number) => ['time;x', ...rows(i => `${(i / rateHz).toFixed(6)};${i}`)]
  const directory = await tree(t, { 'run/1': at(1_000), 'run/2': at(2_000) })
  await assert.rejects(readRecordingFile(join(directory, 'run')), { message: /2000 Hz.*1000 Hz/ })
})

test('the bearings of FEMTO are runs of snapshots', { skip: missingData('femto') }, async () => {
  const dataset = await openDataset(join(dataDirectory, 'femto'))
  const bearing = infoOf(dataset, 'Bearing1_1')
  const { rateHz, shaftHz, snapshotSamples, snapshotIntervalS, unit, bearingName, class: label } = bearing
  assert.deepEqual(
    { rateHz, shaftHz, snapshotSamples, snapshotIntervalS, unit, bearingName, label },
    {
      rateHz: 25_600,
      shaftHz: 30,
      snapshotSamples: 2_560,
      snapshotIntervalS: 10,
      unit: 'g',
      bearingName: 'Bearing1_1',
      label: 'unlabelled',
    },
  )
  const { samples, gaps } = await dataset.signal('Bearing2_1')
  assert.equal(gaps.length, samples.length / 2_560 - 1)
})

test('the rig of HIT names its bearing, whose orders are known', { skip: missingData('hit-mfs') }, async () => {
  const dataset = await openDataset(join(dataDirectory, 'hit-mfs'))
  const { bearing, bearingName, rateHz, class: label } = infoOf(dataset, 'IR2_600')
  assert.deepEqual({ bearingName, rateHz, label }, { bearingName: '6205', rateHz: 51_200, label: 'inner-race' })
  assert.equal(bearing?.bpfo, 3.5848)
  assert.equal((await dataset.read('IR2_600')).length, 262_144)
})

test('the parts of a run of UESTC are one group', { skip: missingData('uestc') }, async () => {
  const { recordings } = await openDataset(join(dataDirectory, 'uestc'))
  const run = recordings.filter(({ group }) => group === 'O_800')
  assert.deepEqual(run.map(({ part }) => part).sort(), [1, 2, 3, 4, 5])
})
