import assert from 'node:assert/strict'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Evaluation, evaluateEverySplit } from '../../lab/evaluation/evaluation.ts'
import { splitNames } from '../../lab/evaluation/folds.ts'
import { groupBy } from '../../lab/evaluation/group-by.ts'
import { ALL_FOLDS } from '../../lab/evaluation/rows.ts'
import { shippedSplits } from '../../lab/evaluation/shipped.ts'
import { trainBearings } from '../../lab/index.ts'
import { htmlReport } from '../../lab/report/html.ts'
import { streamTable } from '../../lab/report/streams.ts'
import { terminalReport } from '../../lab/report/terminal.ts'
import { runCommand } from '../support/command.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { writeSmallDataset, writeSmallRuns } from './support.ts'

/** Small recordings of both rigs and a pair trained on one of them. */
async function smallWorld(t: Parameters<typeof temporaryDirectory>[0]) {
  const data = await temporaryDirectory(t)
  for (const [set, fill] of [
    ['cwru', writeSmallDataset],
    ['uestc', writeSmallRuns],
  ] as const) {
    await mkdir(join(data, set))
    await fill(join(data, set))
  }
  const models = await temporaryDirectory(t)
  await trainBearings({ data, out: models, seed: 1, perClass: 20, effort: 0.05 })
  return { data, models }
}

test('every split, every method and every figure, from recordings to report', async t => {
  const { data, models } = await smallWorld(t)
  const options = { data, models, perClass: 20, effort: 0.05 }
  const evaluation = await evaluateEverySplit(options)
  const { rows, commissioning, curves, spectra, aims } = evaluation

  await t.test('every split has all four methods on each fold', () => {
    const found = [...new Set(rows.map(row => row.split))].sort()
    assert.deepEqual(found, [...new Set([...Object.values(splitNames), ...Object.values(shippedSplits)])].sort())
    const folds = groupBy(rows, row => `${row.split} ${row.fold}`)
    for (const [name, group] of folds)
      assert.deepEqual(
        group.map(row => row.method),
        ['local', 'server', 'hierarchical', 'rms'],
        name,
      )
  })

  await t.test('figures are shares, intervals hold them, and a method costs what it escalates', () => {
    for (const row of rows) {
      for (const interval of [row.accuracy, row.macroF1, row.detection]) {
        if (!interval) continue
        assert.ok(interval.value >= 0 && interval.value <= 1)
        if (interval.low !== null) assert.ok(interval.low <= interval.value && interval.value <= interval.high!)
      }
      assert.equal(row.accuracy === null, row.method === 'rms')
      assert.ok(Math.abs(row.bytesPerWindow - row.escalated * evaluation.escalationBytes) < 1e-9)
      if (row.method === 'server') assert.equal(row.escalated, 1)
      if (row.method === 'local' || row.method === 'rms') assert.equal(row.escalated, 0)
      assert.ok(row.falseAlarms!.perHourAtMost >= row.falseAlarms!.perHour)
    }
    assert.ok(evaluation.escalationBytes > 2 * 2048 && evaluation.escalationBytes < 2 * 2048 + 600)
  })

  await t.test('the same last second of normal is counted once over all folds', () => {
    const normals = rows.filter(row => row.split === splitNames.load && row.method === 'local')
    const together = normals.find(row => row.fold === ALL_FOLDS)!
    for (const row of normals) assert.equal(row.falseAlarms!.of, together.falseAlarms!.of)
    assert.equal(together.windows, normals.reduce((sum, row) => sum + row.windows, 0) - together.windows)
  })

  await t.test('a commissioned point finds the simulated faults', () => {
    assert.deepEqual(
      commissioning.map(({ speed }) => speed),
      ['800 rpm', '1200 rpm'],
    )
    for (const { state, faults, rest } of commissioning) {
      assert.equal(state.phase, 'ready')
      assert.equal(rest.windows, 0)
      assert.deepEqual(faults.map(fault => fault.class).sort(), ['ball', 'inner-race', 'outer-race'])
      for (const { worstDelaySeconds } of faults) assert.ok(worstDelaySeconds! <= 1)
    }
    assert.equal(aims.filter(({ aim }) => aim.startsWith('Commissioning')).length, 4)
    assert.equal(aims.length, 7)
  })

  await t.test('curves end at the local and at the server model', () => {
    for (const { split, escalation } of curves) {
      const of = (method: string) => {
        const group = rows.filter(row => row.split === split && row.method === method)
        return (group.find(row => row.fold === ALL_FOLDS) ?? group[0]!).accuracy!.value
      }
      assert.ok(Math.abs(escalation[0]!.y - of('local')) < 1e-3, split)
      assert.ok(Math.abs(escalation.at(-1)!.y - of('server')) < 1e-3, split)
    }
    assert.equal(spectra.length, 4)
  })

  await t.test('the evaluation survives JSON, and both reports say everything', () => {
    const again = JSON.parse(JSON.stringify(evaluation)) as Evaluation
    assert.deepEqual(again, evaluation)
    const [page, text] = [htmlReport(again), terminalReport(again)]
    for (const { split } of rows) {
      assert.ok(page.includes(split), split)
      assert.ok(text.includes(split), split)
    }
    for (const { aim } of aims) assert.ok(text.includes(aim))
    const table = streamTable(again)
    assert.ok(table.rows.length > 0)
    for (const cell of table.rows.flat()) assert.ok(page.includes(`<td>${cell}</td>`) && text.includes(cell), cell)
    // One file: nothing is asked for from outside, nothing failed to be a number.
    assert.doesNotMatch(page, /https?:|src=|@import|url\((?!#)|NaN|undefined/)
    assert.doesNotMatch(text, /NaN|undefined/)
  })

  await t.test('the same seed gives the same figures, and a quick run those that need no training', async () => {
    const quick = await evaluateEverySplit({ ...options, quick: true })
    const shipped = rows.filter(row => row.models === 'shipped')
    assert.deepEqual(quick.rows, shipped)
    assert.equal(quick.backend, null)
    assert.match(quick.notes.join(), /Quick/)
  })

  await t.test('the command writes tables, JSON and the page', async () => {
    const out = await temporaryDirectory(t)
    const files = ['--json', join(out, 'figures.json'), '--html', join(out, 'report.html')]
    const result = await runCommand('lab/evaluate.ts', [
      'bearings',
      '--data',
      data,
      '--models',
      models,
      '--quick',
      ...files,
    ])
    assert.equal(result.code, 0, result.stderr)
    assert.match(result.stdout, /CWRU 3 hp with noise/)
    const json = JSON.parse(await readFile(join(out, 'figures.json'), 'utf8')) as Evaluation
    assert.deepEqual(
      json.rows,
      rows.filter(row => row.models === 'shipped'),
    )
    assert.match(await readFile(join(out, 'report.html'), 'utf8'), /^<!doctype html>/)
  })
})

test('without a second rig the rest is measured and the gap is said', async t => {
  const data = await temporaryDirectory(t)
  await writeSmallDataset(data)
  const models = await temporaryDirectory(t)
  await trainBearings({ data, out: models, seed: 1, perClass: 20, effort: 0.05 })
  const { rows, notes, commissioning } = await evaluateEverySplit({ data, models, quick: true })
  assert.ok(rows.every(row => row.split !== splitNames.toUestc))
  assert.deepEqual(commissioning, [])
  assert.match(notes.join(), /uestc/)
})

test('a task that does not exist ends in one line', async () => {
  const { code, stderr } = await runCommand('lab/evaluate.ts', ['pumps', '--data', '.'])
  assert.equal(code, 2)
  assert.match(stderr, /^error CONFIG_INVALID: .*"pumps".*\n$/)
})
