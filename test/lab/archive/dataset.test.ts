import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { bearingClasses, loadBundle, openDataset, openImages, Random } from '@faultline/inference'
import { decodeWindow, encodeWindow } from '@faultline/protocol'
import { ArchiveReader } from '@faultline/server-agent'
import { sideOf, sides } from '../../../lab/archive/division.ts'
import { evaluateOnHard } from '../../../lab/archive/evaluate.ts'
import { exportDataset } from '../../../lab/archive/export.ts'
import { exportedWindows } from '../../../lab/archive/exported.ts'
import { applyFindings } from '../../../lab/archive/labels.ts'
import { summaryOf } from '../../../lab/archive/summary.ts'
import { trainBearings } from '../../../lab/index.ts'
import { heldOut } from '../../../lab/training/held-out.ts'
import { withCode } from '../../inference/bundles.ts'
import { hardWindow } from '../../server-agent/archive/windows.ts'
import { root } from '../../support/processes.ts'
import { temporaryDirectory } from '../../support/temp.ts'
import { windowsOfMachine, writtenArchive } from './archives.ts'

test('an export has each machine on one side, and the sides are what training and calibration read', async t => {
  const machines = Array.from({ length: 24 }, (_, i) => `machine-${i}`)
  const windows = machines.flatMap((machine, i) => windowsOfMachine(machine, bearingClasses[i % 4]!, 2))
  const archive = await writtenArchive(t, windows)
  const [doubtful] = windows
  const reader = ArchiveReader.open(archive)
  applyFindings(
    [reader],
    [{ what: { id: doubtful!.id }, label: 'ball', by: 'ada' }],
    ['it'],
    '2026-03-10T08:00:00.000Z',
  )
  reader.close()
  const directory = await temporaryDirectory(t)
  const out = join(directory, 'hard')
  const exported = await exportDataset({ archives: [archive, archive], out, seed: 1 })
  assert.equal(exported.windows.length, windows.length, 'what is in two archives is exported once')

  const sideOfMachine = new Map<string, string>()
  const found = new Map<string, string>()
  for (const side of sides) {
    const dataset = await openDataset(join(out, side))
    for (const { id, class: name, group, shaftHz } of dataset.recordings) {
      assert.equal(sideOfMachine.get(group) ?? side, side, `${group} is on two sides`)
      sideOfMachine.set(group, side)
      found.set(String(await dataset.read(id)), name)
      assert.equal(shaftHz, 25)
    }
  }
  assert.equal(sideOfMachine.size, machines.length)
  for (const { id, server, window } of windows) {
    const label = id === doubtful!.id ? 'ball' : server.label
    assert.equal(found.get(String(decodeWindow(window!).samples)), label, 'the label of a person comes first')
  }
  const table = (await readFile(join(out, 'windows.csv'), 'utf8')).trim().split('\n')
  assert.equal(table.length, 1 + windows.length)

  const count = (side: string) => exported.windows.filter(window => window.side === side).length
  // Calibration takes the validation side, whatever side the bundle names elsewhere.
  const { description } = await loadBundle(join(root, 'models/bearing-local'))
  assert.equal((await heldOut(description, out)).length, count('validation'))
  const { local } = await trainBearings({
    hard: out,
    out: join(directory, 'models'),
    seed: 1,
    perClass: 12,
    effort: 0.05,
  })
  const { training } = local.description
  const used = training.metrics.windowsUsed as Record<string, { hard: number }>
  assert.deepEqual([used.train!.hard, used.validation!.hard], [count('train'), count('validation')])
  assert.equal((training.metrics.hardTest as { windows: number }).windows, count('test'))
  assert.ok(training.data.includes('hard windows of an archive'))

  const bundles = [join(directory, 'models', 'bearing-local'), join(root, 'models/bearing-server')]
  const evaluations = await evaluateOnHard(out, 'test', bundles)
  assert.deepEqual(
    evaluations.map(({ model, windows }) => [model, windows]),
    [
      ['bearing-local:1.0.0', count('test')],
      ['bearing-server:1.0.0', count('test')],
    ],
  )
  const { accuracy } = training.metrics.hardTest as { accuracy: number }
  // The dither differs, so a window on the edge may fall to the other side.
  assert.ok(Math.abs(evaluations[0]!.accuracy - accuracy) <= 0.15, `${evaluations[0]!.accuracy} and ${accuracy}`)
  await assert.rejects(evaluateOnHard(join(out, 'test'), 'test', bundles), withCode('RECORDING_INVALID'))
})

test('the summary counts labels and machines by side, and says how often each model was right where a person knows', async t => {
  const windows = [...windowsOfMachine('press-1', 'ball', 3), ...windowsOfMachine('press-2', 'inner-race', 2)]
  const [{ window: _, ...bare }] = windowsOfMachine('press-3', 'normal', 1) as [(typeof windows)[number]]
  const archive = await writtenArchive(t, [...windows, bare])
  const reader = ArchiveReader.open(archive)
  const findings = windows.slice(0, 4).map(({ id }) => ({ what: { id }, label: 'ball', by: 'ada' }))
  applyFindings([reader], findings, [], '2026-03-10T08:00:00.000Z')
  reader.close()
  const directory = await temporaryDirectory(t)
  const all = await exportDataset({ archives: [archive], out: join(directory, 'all'), seed: 1 })
  const text = summaryOf(all)
  assert.match(text, /^ball .* 4 \(4\)$/m)
  assert.match(text, /^inner-race .* 1$/m)
  assert.match(text, /^all .* 6 \(4\)$/m)
  assert.match(text, /^machines .* 3$/m)
  assert.match(text, /^server +4 +3 +75\.0 %$/m)
  assert.match(text, /^local +4 +1 +25\.0 %$/m)
  assert.match(text, /^1 windows have features only/m)
  assert.match(text, /^No windows with samples on: /m)
  const human = await exportDataset({ archives: [archive], out: join(directory, 'human'), humanOnly: true, seed: 1 })
  assert.equal(human.windows.length, 4)
  // A side without windows says so to whoever wants to learn from it.
  const empty = sides.find(side => !all.windows.some(window => window.side === side && window.file))!
  assert.deepEqual(await exportedWindows(join(directory, 'all'), empty, new Random(1)), [])
})

test('images become a directory for each label, and tasks are not mixed', async t => {
  const samples = Float32Array.from({ length: 12 }, (_, i) => i * 20)
  const image = { window: encodeWindow({ samples, shape: [2, 2, 3], rateHz: 0 }), task: 'surface', features: {} }
  const archive = await writtenArchive(t, [hardWindow({ machine: 'belt', ...image }), hardWindow()])
  const out = join(await temporaryDirectory(t), 'images')
  const wanted = { archives: [archive], out, seed: 1 }
  await assert.rejects(exportDataset(wanted), withCode('CONFIG_INVALID', /name one of bearing-fault, surface/))
  await exportDataset({ ...wanted, task: 'surface' })
  const side = sideOf('plant-a', 'belt', 1)
  const set = await openImages(join(out, side), [2, 2, 3], ['inner-race'])
  const { window, class: name } = await set.read(0)
  assert.deepEqual([set.count, name, [...window.samples]], [1, 'inner-race', [...samples]])
  await assert.rejects(exportDataset({ ...wanted, task: 'surface' }), withCode('CONFIG_EXISTS'))
  await assert.rejects(
    exportDataset({ ...wanted, out: `${out}-2`, task: 'pumps' }),
    withCode('ARCHIVE_FAILED', /pumps/),
  )
  assert.deepEqual(await readdir(join(out, '..')), ['images'], 'nothing half done is left')
})

test('a machine stays on its side, and about every fifth machine tests', () => {
  const of = (seed: number) => Array.from({ length: 1_000 }, (_, i) => sideOf('plant-a', `machine-${i}`, seed))
  assert.deepEqual(of(1), of(1))
  assert.notDeepEqual(of(1), of(2))
  for (const [side, share] of [
    ['train', 0.6],
    ['validation', 0.2],
    ['test', 0.2],
  ] as const) {
    const found = of(1).filter(one => one === side).length / 1_000
    assert.ok(Math.abs(found - share) < 0.05, `${side}: ${found}`)
  }
})
