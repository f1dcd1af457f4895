import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { openRecordingFile, type RecordingFileOptions, readRecordingFile } from '@faultline/inference'
import fc from 'fast-check'
import { temporaryDirectory } from '../support/temp.ts'

async function fileOf(t: TestContext, content: string | Buffer, name = 'recording'): Promise<string> {
  const path = join(await temporaryDirectory(t), name)
  await writeFile(path, content)
  return path
}

const read = async (t: TestContext, content: string | Buffer, options: RecordingFileOptions = {}) =>
  readRecordingFile(await fileOf(t, content), options)

const rounded = (samples: Float32Array): number[] => [...samples].map(value => Number(value.toFixed(5)))

/** Samples, and the same as a logger writes them: with a time column, in the marks of a country. */
const samples = [0.00684, 2.15079, -0.26059, -1.71606, 0.02833, 0.5]
const local = (value: number, decimal: string) => value.toFixed(5).replace('.', decimal)
const tableOf = (separator: string, decimal: string, rateHz = 12_000) =>
  samples.map((value, i) => `${(i / rateHz).toFixed(8).replace('.', decimal)}${separator}${local(value, decimal)}`)

for (const [separator, decimal] of [
  [';', ','],
  [';', '.'],
  ['\t', ','],
  ['\t', '.'],
  [',', '.'],
  [', ', '.'],
  ['  ', '.'],
  ['  ', ','],
] as const)
  test(`cells between ${JSON.stringify(separator)} with the decimal mark "${decimal}" are what was written`, async t => {
    const rows = tableOf(separator, decimal)
    const head = `time${separator}accel`
    for (const [end, options] of [
      ['\n', {}],
      ['\r\n', { column: 'accel' }],
      ['\r', { column: 1 }],
    ] as const) {
      const signal = await read(t, [head, ...rows, ''].join(end), options)
      assert.deepEqual(rounded(signal.samples), samples)
      assert.equal(signal.rateHz, 12_000)
    }
  })

test('cells in quotes are read between all separators, and with separators and quotes in them', async t => {
  for (const [separator, decimal] of [';,', ';.', ',.', '\t,', ',,'].map(marks => [...marks] as [string, string])) {
    const quote = (cells: string[]) => cells.map(cell => `"${cell}"`).join(separator)
    const rows = tableOf(';', decimal).map(row => quote(row.split(';')))
    const content = [quote(['time', `accel${separator} ""z""`]), ...rows].join('\n')
    const { samples: found, rateHz } = await read(t, content, { column: `accel${separator} "z"` })
    assert.deepEqual(rounded(found), samples, separator + decimal)
    assert.equal(rateHz, 12_000)
  }
})

test('any text at all is read or refused with a code', async t => {
  const path = await fileOf(t, '')
  const line = fc.string({ unit: fc.constantFrom(...'0123456789.,;\t "-+e#%:aT\n'), maxLength: 60 })
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 8 }), async lines => {
      await writeFile(path, lines.join('\n'))
      const found = await readRecordingFile(path, { column: 0 }).catch(error => error.code)
      assert.ok(found === 'RECORDING_INVALID' || found.samples.length > 0, String(found))
    }),
    { numRuns: 500 },
  )
})

test('one column of decimal commas is one column, with a head, without and in quotes', async t => {
  const rows = samples.map(value => local(value, ','))
  for (const content of [['accel', ...rows], rows, ['# press 3, hall 2', ...rows], rows.map(row => `"${row}"`)])
    assert.deepEqual(rounded((await read(t, content.join('\n'))).samples), samples)
  const short = ['0,41', '0,12', '1,16']
  assert.deepEqual(rounded((await read(t, ['accel', ...short].join('\n'))).samples), [0.41, 0.12, 1.16])
  await assert.rejects(read(t, short.join('\n')), { code: 'RECORDING_INVALID', message: /"0,41".*decimal: ","/ })
  assert.deepEqual(rounded((await read(t, short.join('\n'), { decimal: ',' })).samples), [0.41, 0.12, 1.16])
  const two = await read(t, short.join('\n'), { separator: ',', column: 1 })
  assert.deepEqual([...two.samples], [41, 12, 16])
})

const contradictions: [what: string, content: string, message: RegExp][] = [
  ['another decimal mark', 'time;accel\n0,1;0,5\n0,2;0,6\n0,3;0.7\n0,4;0,8\n', /line 4, cell 2: "0\.7"/],
  ['another separator', 'a;b\n1;2\n3;4\n5,6\n7;8\n', /line 4 has 1 cells/],
  ['more cells than before', 'a;b\n1;2\n3;4\n5;6;7\n8;9\n', /line 4 has 3 cells/],
  ['thousands', 'a;b\n1,0;2,5\n1,1;1.234,5\n1,2;2,7\n1,3;1,1\n', /line 3, cell 2: "1\.234,5"/],
  ['commas for both', 'time,accel\n0,000083,0,034000\n0,000167,0,044000\n', /both separate cells and mark decimals/],
  ['more cells than names', 'time,accel\n1.5,2.5,3.5\n1.6,2.6,3.6\n', /rows of 3 cells below a head of 2/],
  ['names for cells that are none', 'time,accel\n0,0068\n2,1507\n0,2606\n', /two names/],
]
for (const [what, content, message] of contradictions)
  test(`a table with ${what} is refused where it contradicts itself`, async t => {
    await assert.rejects(read(t, content, { column: 1 }), { code: 'RECORDING_INVALID', message })
  })

test('UTF-8 and UTF-16 with and without a mark, sep= and Windows-1252 are text', async t => {
  const text = ['sep=;', 'time;accel (m/s²)', ...tableOf(';', ',')].join('\r\n')
  const utf16 = Buffer.from(text, 'utf16le')
  const encodings = {
    utf8: Buffer.from(text),
    'utf8 with a mark': Buffer.from(`\ufeff${text}`),
    'UTF-16': Buffer.concat([Buffer.from([0xff, 0xfe]), utf16]),
    'UTF-16 without a mark': utf16,
    'UTF-16, other end first': Buffer.concat([Buffer.from([0xfe, 0xff]), Buffer.from(utf16).swap16()]),
    'Windows-1252': Buffer.from(text, 'latin1'),
  }
  for (const [name, bytes] of Object.entries(encodings)) {
    const signal = await read(t, bytes)
    assert.deepEqual(rounded(signal.samples), samples, name)
    assert.equal(signal.unit, 'm/s2', name)
  }
})

test('the last comment with as many cells as the rows names the columns where no other line does', async t => {
  const rows = ['12.830000,1,2,3', '12.830312,4,5,6', '12.830625,7,8,9']
  const klipper = ['# printer, 3', '#time,accel_x,accel_y,accel_z', ...rows].join('\n')
  const signal = await read(t, klipper, { column: 'accel_z' })
  assert.deepEqual([...signal.samples], [3, 6, 9])
  assert.ok(Math.abs(signal.rateHz! - 3_200) < 1)
  const percent = ['% made by a script', '% a b c d', ...rows.map(row => row.replaceAll(',', ' '))].join('\n')
  assert.deepEqual([...(await read(t, percent, { column: 'c' })).samples], [2, 5, 8])
  const both = ['#w,x,y,z', 'a,b,c,d', ...rows].join('\n')
  assert.deepEqual([...(await read(t, both, { column: 'b' })).samples], [1, 4, 7])
})

test('a column has to be named where several could be meant, and all are listed', async t => {
  const table = 'time (ms),Accel X (g),Accel Z (g)\n0,1,2\n1,3,4\n2,5,6\n'
  const listed = /1 "Accel X", 2 "Accel Z"/
  await assert.rejects(read(t, table), { code: 'RECORDING_INVALID', message: listed })
  await assert.rejects(read(t, table, { column: 'accel_q' }), { message: listed })
  await assert.rejects(read(t, table, { column: 3 }), { message: listed })
  // The times are no samples, though their number is there.
  await assert.rejects(read(t, table, { column: 0 }), { message: listed })
  const signal = await read(t, table, { column: 'accel z' })
  assert.deepEqual(
    { ...signal, samples: [...signal.samples] },
    { samples: [2, 4, 6], rateHz: 1_000, unit: 'g', gaps: [] },
  )
  await assert.rejects(read(t, '1 2 3\n4 5 6\n'), { message: /say which column.*0, 1, 2/ })
})

const loggers: [name: string, text: string, column: string | undefined, expected: object][] = [
  [
    'LabVIEW with times',
    `LabVIEW Measurement\t\nWriter_Version\t2\nSeparator\tTab\nDecimal_Separator\t.\nX_Columns\tOne\nDate\t2024/05/02\nTime\t10:00:00.1\n***End_of_Header***\t\n\t\nChannels\t2\t\t\nSamples\t3\t3\t\nDate\t2024/05/02\t2024/05/02\t\nTime\t10:00:00.1\t10:00:00.1\t\nY_Unit_Label\tg\tg\t\nX_Dimension\tTime\tTime\t\nX0\t0.0000000000000000E+0\t0.0000000000000000E+0\t\nDelta_X\t1.000000E-3\t1.000000E-3\t\n***End_of_Header***\t\t\t\nX_Value\tAccel_0\tAccel_1\tComment\n0.000000\t1.5\t4\n0.001000\t2.5\t5\n0.002000\t3.5\t6\n`,
    'Accel_0',
    { samples: [1.5, 2.5, 3.5], rateHz: 1_000, unit: 'g' },
  ],
  [
    'LabVIEW without times, decimal commas',
    `LabVIEW Measurement\t\nDecimal_Separator\t,\nX_Columns\tNo\n***End_of_Header***\t\n\t\nChannels\t1\t\nDelta_X\t3,906250E-5\t\n***End_of_Header***\t\t\nX_Value\tAccel\tComment\n\t1,5\n\t2,5\n\t3,5\n`,
    'Accel',
    { samples: [1.5, 2.5, 3.5], rateHz: 25_600 },
  ],
  [
    'PicoScope',
    'Time,Channel A,Channel B\n(ms),(mV),(V)\n\n0.00000000,1.5,9\n0.10000000,2.5,9\n0.20000000,3.5,9\n',
    'Channel A',
    { samples: [1.5, 2.5, 3.5], rateHz: 10_000, unit: 'mV' },
  ],
  [
    'phyphox',
    '"Time (s)","Linear Acceleration x (m/s^2)","Linear Acceleration y (m/s^2)"\n0.000000000E0,1.5E0,9E0\n2.500000000E-3,2.5E0,9E0\n5.000000000E-3,-3.5E0,9E0\n',
    'Linear Acceleration x',
    { samples: [1.5, 2.5, -3.5], rateHz: 400, unit: 'm/s2' },
  ],
  [
    'Excel',
    'Messung vom 2.5.2024;;\r\nSampling rate;25600;Hz\r\n;;\r\nNr;Beschl;Temp\r\n1;1,5;20\r\n2;2,5;20\r\n3;#NV;20\r\n',
    'Beschl',
    { samples: [1.5, 2.5, Number.NaN], rateHz: 25_600 },
  ],
  [
    'ISO times with microseconds',
    'timestamp;accel\n2024-05-02T10:00:00.000000Z;1.5\n2024-05-02T10:00:00.000500Z;2.5\n2024-05-02T10:00:00.001000Z;3.5\n',
    undefined,
    { samples: [1.5, 2.5, 3.5], rateHz: 2_000 },
  ],
  [
    'times in microseconds and a trailing separator',
    'time_us;accel;\n100;1.5;\n350;2.5;\n600;3.5;\n',
    undefined,
    { samples: [1.5, 2.5, 3.5], rateHz: 4_000 },
  ],
  [
    'hours, minutes, seconds, microseconds',
    Array.from({ length: 64 }, (_, i) => `9,39,39,${Math.floor(65_664 + i * 39.0625)},0.552,${-i}`).join('\n'),
    '5',
    { samples: Array.from({ length: 64 }, (_, i) => 0 - i), rateHz: 25_600 },
  ],
]
for (const [name, text, column, { samples: wanted, ...rest }] of loggers as [
  string,
  string,
  string,
  { samples: number[] },
][])
  test(`what ${name} writes is read with its rate and unit`, async t => {
    const { samples: found, gaps, rateHz, ...others } = await read(t, text, column === undefined ? {} : { column })
    assert.deepEqual(rounded(found), wanted)
    assert.deepEqual(gaps, [])
    assert.deepEqual({ rateHz: Number(rateHz?.toFixed(5)), ...others }, rest)
  })

test('a stated rate that the times contradict by more than 1 % is an error with both', async t => {
  const table = ['time,accel', ...tableOf(',', '.', 25_600)].join('\n')
  await assert.rejects(read(t, table, { rateHz: 12_000 }), {
    code: 'RECORDING_INVALID',
    message: /25600 Hz.*12000 Hz/,
  })
  assert.equal((await read(t, table, { rateHz: 25_500 })).rateHz, 25_600)
  assert.equal((await read(t, 'accel\n1.5\n2.5\n', { rateHz: 12_000 })).rateHz, 12_000)
  const head = ['Sampling rate: 12 kHz', 'time,accel', ...tableOf(',', '.', 25_600)].join('\n')
  await assert.rejects(read(t, head), { message: /25600 Hz by its time column, at 12000 Hz/ })
})

test('times that are rounded coarsely give their rate, and what is missing between them is a gap', async t => {
  const at = (i: number) => Math.floor(i / 3.2) + (i < 500 ? 0 : 40)
  const rows = Array.from({ length: 1_000 }, (_, i) => `${at(i)};${i}`)
  const { rateHz, gaps } = await read(t, ['time_ms;accel', ...rows].join('\n'))
  assert.ok(Math.abs(rateHz! - 3_200) < 16, String(rateHz))
  assert.deepEqual(gaps, [500])
})

test('a first column without a name that grows as seconds do is the time', async t => {
  const rows = Array.from({ length: 20 }, (_, i) => `${(i / 5_000).toFixed(4)} ${i % 7}`)
  const { samples: found, rateHz } = await read(t, rows.join('\n'))
  assert.equal(rateHz, 5_000)
  assert.deepEqual([...found.slice(0, 3)], [0, 1, 2])
})

test('what is no recording is refused by name, and a cell that is a word is NaN', async t => {
  for (const content of ['', 'nothing but words\n', Buffer.from([0, 1, 2, 0, 0, 3])])
    await assert.rejects(read(t, content), {
      code: 'RECORDING_INVALID',
      message: /recording: (has no rows|is no table)/,
    })
  await assert.rejects(readRecordingFile('/nowhere/a.csv'), { code: 'RECORDING_UNREADABLE' })
  assert.deepEqual([...(await read(t, 'accel\n1.5\noverload\n2.5\n')).samples], [1.5, Number.NaN, 2.5])
  const path = await fileOf(t, 'a;"b; c (g)"\n1;2\n', '2004.02.12.10.32.39')
  assert.deepEqual(
    (await openRecordingFile(path)).signals.map(({ name, unit }) => [name, unit]),
    [
      ['a', undefined],
      ['b; c', 'g'],
    ],
  )
})
