import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { ArchiveReader } from '@faultline/server-agent'
import { csvLine } from '../../../lab/archive/csv.ts'
import { applyFindings, type Finding, readFindings, worklist } from '../../../lab/archive/labels.ts'
import { withCode } from '../../inference/bundles.ts'
import { hardWindow, openArchive, readArchive } from '../../server-agent/archive/windows.ts'
import { runCommand } from '../../support/command.ts'
import { temporaryDirectory } from '../../support/temp.ts'
import { writtenArchive } from './archives.ts'

const at = '2026-03-10T08:00:00.000Z'

function apply(directories: readonly string[], findings: readonly Finding[]): number {
  const archives = directories.map(directory => ArchiveReader.open(directory))
  try {
    return applyFindings(
      archives,
      findings,
      findings.map((_, i) => `line ${i + 2}`),
      at,
    )
  } finally {
    for (const archive of archives) archive.close()
  }
}

const labelsIn = (directory: string) =>
  readArchive(directory, reader => [...reader.windows()].map(({ human }) => human?.label))

async function csv(t: TestContext, text: string): Promise<string> {
  const file = join(await temporaryDirectory(t), 'labels.csv')
  await writeFile(file, text)
  return file
}

test('what was found at a machine labels its windows of that time, in every archive and while one is written to', async t => {
  const day = (date: number, machine = 'press-3') =>
    hardWindow({ machine, receivedAt: `2026-03-0${date}T12:00:00.000Z` })
  const first = await writtenArchive(t, [day(1), day(2), day(3), day(2, 'press-4')])
  const second = await temporaryDirectory(t)
  openArchive(t, second, { maxAgeDays: 36_500 }).archive.add([day(2), day(4)])
  const what = { site: 'plant-a', machine: 'press-3', from: '2026-03-02', to: '2026-03-03' }
  assert.equal(apply([first, second], [{ what, label: 'ball', by: 'ada' }]), 2)
  assert.deepEqual(labelsIn(first), [undefined, 'ball', undefined, undefined])
  assert.deepEqual(labelsIn(second), ['ball', undefined])
  readArchive(second, reader => {
    const [labelled] = reader.windows()
    assert.deepEqual(labelled!.human, { label: 'ball', by: 'ada', at })
  })
})

test('a time without a zone is UTC wherever the command runs, and what is no ISO 8601 is no time', async t => {
  const zone = process.env.TZ
  process.env.TZ = 'America/New_York'
  t.after(() => {
    if (zone === undefined) delete process.env.TZ
    else process.env.TZ = zone
  })
  const archive = await writtenArchive(t, [hardWindow({ receivedAt: '2026-03-02T12:00:00.000Z' })])
  const during = (from: string, to: string) =>
    apply([archive], [{ what: { site: 'plant-a', machine: 'press-3', from, to }, label: 'ball', by: 'ada' }])
  for (const [from, to] of [
    ['2026-03-02', '2026-03-03'],
    ['2026-03-02 12:00', '2026-03-02T12:00:01'],
    ['2026-03-02T12:00:00Z', '2026-03-02T13:00:00.5+01:00'],
  ] as const)
    assert.equal(during(from, to), 1, `${from} to ${to}`)
  assert.throws(() => during('2026-03-02T12:01', '2026-03-02T18:00'), withCode('LABELS_INVALID', /there is no window/))
  for (const from of ['1.3.2026', 'March 1, 2026', '2026-03-32', ''])
    assert.throws(() => during(from, '2026-03-03'), withCode('LABELS_INVALID', /is no time/))
})

test('a list of findings is taken whole or not at all, and every wrong line is named', async t => {
  const [a, b, c] = [hardWindow(), hardWindow(), hardWindow()]
  const archive = await writtenArchive(t, [a, b, c])
  const good = await csv(t, `id,label,by,note\n${a.id},ball,,\n${b.id},,,nobody looked\n${c.id},normal,bob,"x, y"\n`)
  const { findings, names } = await readFindings(good, 'ada')
  assert.deepEqual(names, ['line 2', 'line 4'])
  const wrong = { what: { id: 'window-x' }, label: 'ball', by: 'ada' }
  const strange = { what: { id: b.id }, label: 'bal', by: 'ada' }
  assert.throws(
    () => apply([archive], [findings[0]!, wrong, strange, { ...findings[0]!, by: '' }]),
    withCode(
      'LABELS_INVALID',
      /^line 3: there is no window "window-x"; line 4: "bal" is none of normal, ball, inner-race, outer-race; line 5: who found it is not said\. Nothing was labelled$/,
    ),
  )
  assert.deepEqual(labelsIn(archive), [undefined, undefined, undefined])
  assert.equal(apply([archive], findings), 2)
  assert.deepEqual(labelsIn(archive), ['ball', undefined, 'normal'])
  // A person may find out more.
  assert.equal(apply([archive], [{ what: { id: a.id }, label: 'normal', by: 'bob' }]), 1)
  assert.deepEqual(labelsIn(archive), ['normal', undefined, 'normal'])
  await assert.rejects(readFindings(await csv(t, 'window,label\n'), 'ada'), withCode('LABELS_INVALID', /line 1/))
})

test('the list of windows to label begins where models contradict each other, then where the server is least sure', async t => {
  const sure = (confidence: number) => {
    const window = hardWindow()
    return { ...window, server: { ...window.server, confidence } }
  }
  const [a, b, contested, labelled] = [sure(0.9), sure(0.6), sure(0.99), sure(0.5)]
  const directory = await temporaryDirectory(t)
  const { archive } = openArchive(t, directory)
  archive.add([a, b, contested, labelled])
  const { site, device, point, id } = contested
  const model = { name: 'new', version: '2.0.0', digest: `sha256:${'3'.repeat(64)}` }
  archive.addAnswers([{ id, site, device, point, role: 'shadow', model, label: 'ball', confidence: 0.7 }])
  apply([directory], [{ what: { id: labelled.id }, label: 'ball', by: 'ada' }])
  const text = readArchive(directory, reader => worklist([reader], 2))
  const [head, ...lines] = text.trim().split('\n')
  assert.match(head!, /^id,label,by,/)
  assert.deepEqual(
    lines.map(line => line.split(',')[0]),
    [contested.id, b.id],
  )
  // Filled in, it can be given back.
  const filled = await csv(t, text.replace(`${b.id},,`, `${b.id},normal,bob`))
  assert.equal(apply([directory], (await readFindings(filled)).findings), 1)
})

test('a text that a spreadsheet would carry out is no formula in a table', () => {
  assert.equal(csvLine(['=1+1', 'a "b", c', -0.5, undefined, 'press-3']), `'=1+1,"a ""b"", c",-0.5,,press-3\n`)
})

test('the command lists, labels, and says in one line what is wrong', async t => {
  const window = hardWindow()
  const archive = await writtenArchive(t, [window])
  const list = join(await temporaryDirectory(t), 'open.csv')
  const label = (...args: string[]) => runCommand('lab/models.ts', ['label', archive, ...args])
  const listed = await label('--list', list)
  assert.deepEqual([listed.code, listed.stdout], [0, `${list}: 1 windows to label\n`], listed.stderr)
  assert.match(await readFile(list, 'utf8'), new RegExp(`^${window.id},,,plant-a,press-3,`, 'm'))
  const wrong = await label('--id', window.id, '--label', 'bal', '--by', 'ada')
  assert.deepEqual([wrong.code, wrong.stdout], [1, ''])
  assert.match(wrong.stderr, /^error LABELS_INVALID: --id: "bal" is none of .*\n$/)
  const done = await label('--id', window.id, '--label', 'ball', '--by', 'ada')
  assert.deepEqual([done.code, done.stdout], [0, '1 window labelled\n'], done.stderr)
  assert.deepEqual(labelsIn(archive), ['ball'])
})
