import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { startScript } from '../support/processes.ts'
import { missing } from '../support/programs.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { rounds } from '../support/thorough.ts'
import { faultsOf, type KindReport, type SoakReport, textOf } from './report.ts'
import { Soak } from './soak.ts'

const kind: KindReport = { kind: 'QoS 2', acknowledged: 10, lost: [], twice: [], unanswered: 0 }
const reportOf = (differences: Partial<KindReport>, kills = 3): SoakReport => ({
  seed: 1,
  kills,
  killsWithFullDisk: 1,
  killsOfRedis: 0,
  seconds: 2.4,
  kinds: [{ ...kind, ...differences }],
})

test('a broker that kept what it acknowledged has no faults', () => {
  assert.deepEqual(faultsOf(reportOf({})), [])
  assert.deepEqual(faultsOf(reportOf({ twice: undefined })), [])
  assert.doesNotMatch(textOf(reportOf({})), /FAULT/)
})

for (const [what, report] of [
  ['a lost message', reportOf({ lost: [7] })],
  ['a message of QoS 2 that came twice', reportOf({ twice: [7] })],
  ['a message that was never answered', reportOf({ unanswered: 1 })],
  ['a run in which nothing was acknowledged', reportOf({ acknowledged: 0 })],
  ['a run in which nothing was killed', reportOf({}, 0)],
] as const) {
  test(`${what} is a fault`, () => {
    assert.equal(faultsOf(report).length, 1)
    assert.match(textOf(report), /^FAULT /m)
  })
}

for (const [what, cluster] of [
  ['a broker', false],
  ['one of two brokers over a Redis', true],
] as const) {
  test(`however often ${what} is killed, nothing acknowledged is lost and nothing of QoS 2 comes twice`, {
    skip: cluster && missing('redis-server'),
  }, async () => {
    const kills = rounds(20, 0.25)
    const settings = { kills, seed: 5, maxMs: 600_000, quietMs: 30_000, memory: false }
    const report = await new Soak({ ...settings, cluster }).run()
    assert.deepEqual(faultsOf(report), [], textOf(report))
    assert.equal(report.kills, kills)
  })
}

test('a soak of a broker that forgets when it is killed reports what was lost, and exits with 1', async t => {
  const file = join(await temporaryDirectory(t), 'report.json')
  const args = ['--kills', '2', '--memory', '--quiet', '2', '--seed', '3', '--json', file]
  const soak = startScript(t, 'test/soak/main.ts', args)
  assert.equal(await soak.exited, 1, soak.output)
  const report = JSON.parse(await readFile(file, 'utf8')) as SoakReport
  assert.deepEqual([report.kills, report.seed], [2, 3])
  for (const { kind, acknowledged, lost } of report.kinds.filter(({ kind }) => kind.includes('stored'))) {
    assert.ok(acknowledged > 0 && lost.length > 0, `${kind}: nothing lost of ${acknowledged}`)
  }
  assert.match(soak.output, /^FAULT QoS 1, stored sessions: \d+ acknowledged messages were lost/m)
})
