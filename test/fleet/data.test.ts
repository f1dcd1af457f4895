import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openDataset } from '@faultline/inference'
import { runCommand } from '../support/command.ts'
import { temporaryDirectory } from '../support/temp.ts'

const describe = (...args: string[]) => runCommand('fleet/faultline.ts', ['data', 'describe', ...args])

test('data describe writes a manifest that opens, says what it guessed, and overwrites none', async t => {
  const directory = await temporaryDirectory(t)
  const rows = Array.from({ length: 40 }, (_, i) => `${i};${i % 7},5`)
  await writeFile(join(directory, 'inner 0.014.csv'), ['time (ms);accel (g)', ...rows].join('\n'))
  const shown = await describe(directory, '--rpm', '1480', '--dry-run')
  assert.equal(shown.code, 0, shown.stderr)
  await assert.rejects(openDataset(directory), { code: 'RECORDING_UNREADABLE', message: /data describe/ })
  const { code, stdout, stderr } = await describe(directory, '--rpm', '1480')
  assert.equal(code, 0, stderr)
  assert.match(stdout, /inner 0\.014\.csv: inner-race, 1480 rpm, 40 samples at 1000 Hz, g\n/)
  assert.match(stdout, /guessed, please check:\n {2}inner 0\.014\.csv: class inner-race, from its path\n/)
  const { recordings } = await openDataset(directory)
  assert.deepEqual(
    recordings.map(({ id, class: label, unit }) => [id, label, unit]),
    [['inner 0.014', 'inner-race', 'g']],
  )
  const manifest = await readFile(join(directory, 'manifest.json'), 'utf8')
  const again = await describe(directory)
  assert.match(again.stderr, /^error CONFIG_EXISTS: /)
  assert.equal(await readFile(join(directory, 'manifest.json'), 'utf8'), manifest)
})

test('data describe says which files state no rate, and refuses a rate that is none', async t => {
  const directory = await temporaryDirectory(t)
  await writeFile(join(directory, 'a.csv'), 'accel\n1.5\n2.5\n')
  assert.match((await describe(directory)).stderr, /^error RECORDING_INVALID: .*a\.csv; give it with --rate-hz/)
  assert.match((await describe(directory, '--rate-hz', 'fast')).stderr, /"fast" is not a number above 0/)
})
